//! The guest that a call is about: found by name or VMID before the call, or given a free VMID.

use serde_json::{Map, Value};

use super::twins;
use crate::answer::plain;
use crate::cluster::guests::Guest;
pub(super) use crate::cluster::guests::{NEW_VMID, NODE, OF_GUEST, OVERWRITE, TYPE, VMID};
use crate::error::Error;
use crate::param::Args;
use crate::settings::Safety;
use crate::tool::Tool;

/// The twin of a tool, which does its work for a guest of the other kind.
pub(crate) struct StandIn {
    pub(crate) name: &'static str,
    pub(crate) tool: &'static Tool,
    /// What the tool was called with, for the twin.
    pub(crate) args: Args,
    /// What the answer says of it.
    pub(crate) note: String,
    /// What is said where the twin would do harm.
    pub(crate) refusal: Error,
}

/// Which tool does the work of `tool` for `guest`, which is of the other kind; `refusal` where none does:
/// there is no such tool, it is not harmless, the settings hide it, or an argument is not for it.
pub(crate) fn stand_in(
    tool: &str,
    args: &Args,
    arguments: &Map<String, Value>,
    guest: Value,
    refusal: Error,
    safety: &Safety,
) -> Result<StandIn, Error> {
    let Some(twin) = twins::of(tool) else {
        return Err(refusal);
    };
    let Some((name, tool)) = twin.other.and_then(super::find) else {
        return Err(refusal);
    };
    if let Some(why) = safety.exposure.hides_by_name(name) {
        let hidden = format!("\n{name} is hidden: {why}; only the user can change that.");
        return Err(refusal.besides(&hidden));
    }
    let is_elsewhere = args
        .get(&NODE)
        .is_some_and(|node| guest[NODE.name] != *node);
    if !twin.stands_in || is_elsewhere {
        return Err(refusal);
    }
    let given = arguments.iter().filter(|(name, value)| {
        let param = args.params().find(|param| param.is_called(name));
        param.is_none_or(|param| !param.is_absent(value))
    });
    let given = given.map(|(name, value)| (name.clone(), value.clone()));
    let Ok(mut args) = Args::parse(tool.listed_params(safety), &given.collect()) else {
        return Err(refusal);
    };
    for param in [NODE, VMID] {
        args.set(&param, plain(&guest[param.name]));
    }
    let kind = Guest::of(&guest).noun();
    let note = format!("{} is a {kind}, so {name} was used.", &args[&VMID]);
    args.guest = Some(guest);
    Ok(StandIn {
        name,
        tool,
        args,
        note,
        refusal,
    })
}
