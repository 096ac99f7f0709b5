//! The declared requests of a tool, and which declaration applies to a request that it sends.

use crate::param::Param;
use crate::request::Request;
use crate::row::{Choice, Declared, Harm, Step, Touches, filled};
use crate::text;
use crate::text::percent::decode;

/// The requests that a tool may send.
#[derive(Clone, Copy)]
pub(crate) enum Requests {
    Rows(&'static Choice),
    Steps(&'static [Step]),
}

/// The declaration that applies to a request, with the values in it.
pub(crate) struct Match {
    pub(crate) touches: Touches,
    pub(crate) harm: Harm,
    /// What it does, in words, if it belongs to a row.
    pub(crate) does: Option<String>,
    /// The values of its parameters, under their names in the declaration or the API.
    values: Vec<(String, String)>,
}

impl Requests {
    pub(crate) const NONE: Self = Requests::Steps(&[]);

    /// Finds the declaration of a request that changes something; returns `None` if the tool has none.
    pub(crate) fn find(&self, request: &Request) -> Option<Match> {
        match self {
            Requests::Rows(choice) => {
                let declared: Vec<Declared> = choice.declared().collect();
                let found = Declared::find(&declared, request)?;
                let values = found.values(request)?.into_iter();
                Some(Match {
                    touches: found.touches(),
                    harm: found.row.harm,
                    does: Some(found.does(request)),
                    values: values
                        .map(|(name, value)| (name.to_owned(), value))
                        .collect(),
                })
            }
            Requests::Steps(steps) => {
                let fits = steps
                    .iter()
                    .filter_map(|step| Some((step, step.values(request)?)));
                // `/status/start` is more specific than `/status/{command}`.
                let (step, values) =
                    fits.min_by_key(|(step, _)| step.path.split('/').filter(is_part).count())?;
                Some(Match {
                    touches: step.touches,
                    harm: step.harm,
                    does: None,
                    values,
                })
            }
        }
    }
}

impl Match {
    /// Returns the value of a parameter in the request, or an empty text.
    pub(crate) fn value(&self, param: &Param) -> &str {
        let is_of_param = |name: &str| name == param.name || Some(name) == param.wire_name();
        let mut values = self.values.iter();
        let found = values.find(|(name, _)| is_of_param(name));
        found.map_or("", |(_, value)| value)
    }

    /// Fills the values of parameters into a sentence that names them.
    pub(crate) fn fill(&self, sentence: &str) -> String {
        let value = |name: &str| {
            let mut values = self.values.iter();
            let found = values.find(|(known, _)| known == name);
            found.map(|(_, value)| text::inline(value))
        };
        filled(sentence, value).unwrap_or_else(|| sentence.to_owned())
    }
}

impl Step {
    /// Returns the values of the parameters in a request; `None` if it does not match this step.
    fn values(&self, request: &Request) -> Option<Vec<(String, String)>> {
        let (own, sent) = (self.path.split('/'), request.path.split('/'));
        if self.method != request.method || own.clone().count() != sent.clone().count() {
            return None;
        }
        let mut values = Vec::new();
        for (own, sent) in own.zip(sent) {
            match is_part(&own) {
                true => values.push((own[1..own.len() - 1].to_owned(), decode(sent))),
                false if own != sent => return None,
                false => (),
            }
        }
        let form = request.form.iter();
        values.extend(form.map(|(name, value)| (name.to_owned(), value.to_owned())));
        Some(values)
    }
}

/// Returns whether a segment of a path stands for a value: `{node}`.
fn is_part(segment: &&str) -> bool {
    segment.starts_with('{') && segment.ends_with('}')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::param::Kind;
    use crate::request::Method::{Get, Post};

    const VMID: Param = Param::required("vmid", Kind::Guest, "");
    const FORCE: Param = Param::optional("force_stop", Kind::Flag, "").sent_as("forceStop");

    static STEPS: &[Step] = &[
        Step::read("/guests/{vmid}", &[]),
        Step::change(
            Post,
            "/guests/{vmid}/{command}",
            &[],
            Touches::AnyGuest,
            Harm::None,
        ),
        Step::change(
            Post,
            "/guests/{vmid}/stop",
            &[],
            Touches::GuestOf(&VMID),
            Harm::Interrupts("Stops {vmid}[ by {forceStop}]."),
        ),
    ];

    #[test]
    fn a_request_belongs_to_the_most_specific_step() {
        let find = |request: &Request| Requests::Steps(STEPS).find(request);
        let request = Request::new(Post, "/guests/a%2Fb/stop").with("forceStop", "1");
        let found = find(&request).expect("it is declared");
        assert!(matches!(found.touches, Touches::GuestOf(_)));
        assert_eq!((found.value(&VMID), found.value(&FORCE)), ("a/b", "1"));
        let Harm::Interrupts(sentence) = found.harm else {
            panic!("another step");
        };
        assert_eq!(found.fill(sentence), "Stops a/b by 1.");
        let found = find(&Request::new(Post, "/guests/100/start"));
        assert!(matches!(
            found.expect("it is declared").touches,
            Touches::AnyGuest
        ));
        for (method, path) in [
            (Post, "/guests/100"),
            (Post, "/guests/100/stop/now"),
            (Get, "/guests/100/stop"),
        ] {
            assert!(find(&Request::new(method, path)).is_none(), "{path}");
        }
    }
}
