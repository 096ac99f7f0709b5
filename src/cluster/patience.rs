//! How long a call waits, and when it polls.

use std::time::{Duration, Instant};

use crate::cluster::tasks::{WAIT, WAIT_TIMEOUT};
use crate::param::Args;
use crate::pve::reader::Reader;

/// The default limit in seconds: clients give up on a call after 60 s.
const PATIENCE: u64 = 45;

/// The longest wait in seconds for a client without progress reports, which may think that the server is
/// dead.
const PATIENCE_WITHOUT_PROGRESS: u64 = 50;

/// The longest wait in seconds where nothing is heard meanwhile: two more calls then still come in time.
const PATIENCE_WHEN_DEAF: u64 = 20;

const FIRST_DELAY: Duration = Duration::from_millis(200);
const LONGEST_DELAY: Duration = Duration::from_secs(2);

/// How long a call waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Patience {
    limit: Duration,
    /// Why the limit is shorter than requested, if it is.
    cut: Option<&'static str>,
}

impl Patience {
    /// Returns the wait that `args` request, if they request one.
    pub(crate) fn asked(client: &Reader, args: &Args) -> Option<Self> {
        let seconds = args.integer(&WAIT_TIMEOUT);
        let waits = match args.get(&WAIT) {
            Some(wait) => wait == "1",
            None => seconds.is_some(),
        };
        waits.then(|| Self::of(client, seconds))
    }

    /// Returns a wait of this many seconds, or of the default.
    pub(crate) fn of(client: &Reader, seconds: Option<u64>) -> Self {
        let seconds = seconds.unwrap_or(PATIENCE);
        let peer = client.peer();
        let (most, why) = longest(peer.hears_while_waiting(), peer.wants_progress());
        Self {
            limit: Duration::from_secs(seconds.min(most)),
            cut: Some(why).filter(|_| seconds > most),
        }
    }

    /// Returns ` after 45 s`, to follow what had not happened by then.
    pub(super) fn elapsed(self) -> String {
        let seconds = self.limit.as_secs();
        match self.cut {
            Some(why) => format!(" after {seconds} s, the longest wait {why}"),
            None => format!(" after {seconds} s"),
        }
    }

    pub(crate) fn limit(self) -> Duration {
        self.limit
    }

    pub(crate) const fn exactly(limit: Duration) -> Self {
        Self { limit, cut: None }
    }
}

/// Returns how many seconds a call of this client may wait, and why not longer.
fn longest(hears_meanwhile: bool, wants_progress: bool) -> (u64, &'static str) {
    if !hears_meanwhile {
        (
            PATIENCE_WHEN_DEAF,
            "on Windows, where other calls cannot begin meanwhile",
        )
    } else if !wants_progress {
        (PATIENCE_WITHOUT_PROGRESS, "for a client without progress")
    } else {
        (u64::MAX, "")
    }
}

/// The times at which a call polls: soon at first, then every two seconds, and once more at the limit.
pub(crate) struct Pace {
    patience: Patience,
    since: Instant,
    /// The sum of the delays so far.
    paused: Duration,
    delay: Duration,
    due: Instant,
}

impl Pace {
    pub(crate) fn new(patience: Patience) -> Self {
        let now = Instant::now();
        let mut pace = Self {
            patience,
            since: now,
            paused: Duration::ZERO,
            delay: FIRST_DELAY,
            due: now,
        };
        pace.schedule();
        pace
    }

    /// Returns when the next poll is due.
    pub(crate) fn due(&self) -> Instant {
        self.due
    }

    /// Returns whether the limit was reached with the last poll.
    pub(crate) fn is_over(&self) -> bool {
        self.waited() >= self.patience.limit
    }

    /// Moves on to the next poll.
    pub(crate) fn advanced(mut self) -> Self {
        self.delay = (self.delay * 2).min(LONGEST_DELAY);
        self.schedule();
        self
    }

    /// Starts polling something else within the same limit.
    pub(crate) fn restarted(mut self) -> Self {
        self.delay = FIRST_DELAY;
        self.schedule();
        self
    }

    fn schedule(&mut self) {
        let left = self.patience.limit.saturating_sub(self.waited());
        self.due = Instant::now() + self.delay.min(left);
        self.paused += self.delay;
    }

    /// Returns how long the call has waited. Time beyond the planned delays only counts in whole seconds, so
    /// that the number of polls does not depend on how busy the machine is.
    fn waited(&self) -> Duration {
        let other = self.since.elapsed().saturating_sub(self.paused);
        self.paused + Duration::from_secs(other.as_secs())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_is_short_where_nothing_is_heard_meanwhile() {
        let limits = [(false, true), (true, false), (true, true)];
        let limits = limits.map(|(hears, wants)| longest(hears, wants).0);
        assert_eq!(
            limits,
            [PATIENCE_WHEN_DEAF, PATIENCE_WITHOUT_PROGRESS, u64::MAX]
        );
    }
}
