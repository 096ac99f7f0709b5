//! What a person has agreed to: sealed on its way through the client, bound to one call, used once.

use std::cell::{OnceCell, RefCell};

use rustls::crypto::ring;
use serde_json::json;

use crate::seal::Seal;
use crate::settings::Secret;

/// For how long, in seconds, an answer to a question that travels with the call counts.
const OF_QUESTION: u64 = 600;

/// The same for the token of a call that is to be repeated.
const OF_TOKEN: u64 = 300;

/// How a person behind the client can be asked, and what they have said.
#[derive(Debug)]
pub(crate) enum Asks {
    /// By a result that the client answers with the same call again; this may be such a call.
    ByResult(Option<Returned>),
    /// By a request of ours within the session; whether that says its mode.
    InSession { says_mode: bool },
    /// Not at all.
    Nobody,
    /// On the terminal.
    OnTerminal,
    /// They have said yes to everything beforehand; if not, they must.
    Beforehand { is_yes: bool },
}

/// What came back with a repeated call.
#[derive(Debug)]
pub(crate) struct Returned {
    /// What we had sealed.
    pub(crate) state: String,
    /// What was answered to the question, where it was.
    pub(crate) reply: Option<Reply>,
}

/// What a person said to a question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Reply {
    /// Yes, with what they typed.
    Accepted(String),
    /// No, or they closed it.
    Declined,
}

/// What was sealed for one call.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Consent {
    /// A digest of what the person was shown.
    pub(super) shown: String,
    /// What they were to type.
    pub(super) word: String,
    nonce: u64,
    expiry: u64,
}

/// On what way a consent travels; that of one is worth nothing on the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// As the `requestState` of MCP.
    State,
    /// As the argument `confirm_token`.
    Token,
}

/// What seals and remembers consents; its key lives as long as the process.
#[derive(Default)]
pub(crate) struct Consents {
    seal: OnceCell<Option<Seal>>,
    /// The nonces that were used, each until it expires.
    used: RefCell<Vec<(u64, u64)>>,
}

impl Consents {
    /// `None` where there is no randomness, and so nothing can be sealed.
    fn seal(&self) -> Option<&Seal> {
        let make = || {
            let key: String = random::<32>()?
                .iter()
                .map(|byte| format!("{byte:02x}"))
                .collect();
            Seal::new(&Secret::new(key), "proxmox-mcp/consent/v1")
        };
        self.seal.get_or_init(make).as_ref()
    }

    /// A digest that only this process can make.
    pub(super) fn digest(&self, text: &str) -> Option<String> {
        Some(self.seal()?.digest(text))
    }

    /// Seals that a person was shown something before a call.
    pub(super) fn close(
        &self,
        way: Way,
        call: &str,
        shown: &str,
        word: &str,
        now: u64,
    ) -> Option<String> {
        let nonce = u64::from_be_bytes(random::<8>()?) >> 11;
        let lifetime = match way {
            Way::State => OF_QUESTION,
            Way::Token => OF_TOKEN,
        };
        Some(self.seal()?.close(&json!({
            "k": way.name(),
            "a": self.digest(call)?,
            "s": shown,
            "w": word,
            "n": nonce,
            "e": now + lifetime,
        })))
    }

    /// What was sealed for this call; `None` unless all of it holds. It can be opened until it is used.
    pub(super) fn open(&self, way: Way, call: &str, sealed: &str, now: u64) -> Option<Consent> {
        let content = self.seal()?.open(sealed)?;
        let text = |key: &str| content[key].as_str().map(str::to_owned);
        let consent = Consent {
            shown: text("s")?,
            word: text("w")?,
            nonce: content["n"].as_u64()?,
            expiry: content["e"].as_u64()?,
        };
        let is_used = self
            .used
            .borrow()
            .iter()
            .any(|(nonce, _)| *nonce == consent.nonce);
        let holds = content["k"] == way.name()
            && content["a"] == self.digest(call)?
            && now < consent.expiry
            && !is_used;
        holds.then_some(consent)
    }

    /// From now on it cannot be opened.
    pub(super) fn spend(&self, consent: &Consent, now: u64) {
        let mut used = self.used.borrow_mut();
        used.retain(|(_, expiry)| now < *expiry);
        used.push((consent.nonce, consent.expiry));
    }
}

impl Way {
    fn name(self) -> &'static str {
        match self {
            Way::State => "state",
            Way::Token => "token",
        }
    }
}

fn random<const N: usize>() -> Option<[u8; N]> {
    let mut bytes = [0; N];
    ring::default_provider()
        .secure_random
        .fill(&mut bytes)
        .ok()?;
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_784_023_200;

    fn closed(consents: &Consents, way: Way) -> String {
        let sealed = consents.close(way, "stop 100", "web01 running", "100", NOW);
        sealed.expect("there is randomness")
    }

    #[test]
    fn opens_for_the_same_call_alone() {
        let consents = Consents::default();
        let sealed = closed(&consents, Way::State);
        let consent = consents.open(Way::State, "stop 100", &sealed, NOW + 599);
        let consent = consent.expect("it is the same call");
        assert_eq!((&*consent.shown, &*consent.word), ("web01 running", "100"));
        assert_eq!(consents.open(Way::State, "stop 101", &sealed, NOW), None);
        assert_eq!(consents.open(Way::Token, "stop 100", &sealed, NOW), None);
        assert_eq!(
            consents.open(Way::State, "stop 100", &sealed, NOW + 600),
            None
        );
        let token = closed(&consents, Way::Token);
        assert!(
            consents
                .open(Way::Token, "stop 100", &token, NOW + 299)
                .is_some()
        );
        assert_eq!(
            consents.open(Way::Token, "stop 100", &token, NOW + 300),
            None
        );
    }

    #[test]
    fn opens_no_more_once_it_was_used() {
        let consents = Consents::default();
        let sealed = closed(&consents, Way::State);
        let consent = consents.open(Way::State, "stop 100", &sealed, NOW);
        consents.spend(&consent.expect("it is new"), NOW);
        assert_eq!(consents.open(Way::State, "stop 100", &sealed, NOW), None);
        assert!(
            consents
                .open(Way::State, "stop 100", &closed(&consents, Way::State), NOW)
                .is_some()
        );
    }

    #[test]
    fn another_process_opens_nothing() {
        let sealed = closed(&Consents::default(), Way::State);
        assert_eq!(
            Consents::default().open(Way::State, "stop 100", &sealed, NOW),
            None
        );
    }
}
