//! Lets a tool for one kind of guest do the work of its twin for the other kind.

use serde_json::{Map, Value};

use crate::answer::plain;
use crate::cluster::guests::{Guest, NODE, VMID};
use crate::error::Error;
use crate::param::Args;
use crate::text::sort::gather;
use crate::tool::{Context, ListedTool};

/// The twin of a tool, and the arguments for its call.
pub(super) struct StandIn {
    pub(super) entry: ListedTool,
    /// The arguments of the tool, completed for the twin.
    pub(super) args: Args,
    /// The line that tells the caller.
    pub(super) note: String,
    /// The error to return if the twin would do harm.
    pub(super) refusal: Error,
}

/// Finds the tool that does the work of `entry` for a guest of the other kind. Returns `refusal` if there is
/// none, it is not harmless, the settings hide it, or it does not take one of the arguments.
pub(super) fn stand_in(
    context: &Context,
    entry: &ListedTool,
    args: &Args,
    arguments: &Map<String, Value>,
    guest: Value,
    refusal: Error,
) -> Result<StandIn, Error> {
    let Some(twins) = entry.twins else {
        return Err(refusal);
    };
    let Some(other) = twins.other.and_then(context.find) else {
        return Err(refusal);
    };
    let (safety, name) = (context.safety(), other.name);
    if let Some(why) = other.hidden(safety) {
        return Err(refusal.advise(format!(
            "{name} does this to a {}, but is hidden: {why}; only the user can change that.",
            Guest::of(&guest).noun()
        )));
    }
    let is_elsewhere = args
        .get(&NODE)
        .is_some_and(|node| guest[NODE.name] != *node);
    if !twins.stands_in || is_elsewhere {
        return Err(refusal);
    }
    let given = arguments.iter().filter(|(name, value)| {
        let param = args.params().find(|param| param.is_called(name));
        param.is_none_or(|param| !param.is_absent(value))
    });
    let given = given.map(|(name, value)| (name.clone(), value.clone()));
    let Ok(mut args) = Args::parse(other.tool.listed_params(safety).collect(), &gather(given))
    else {
        return Err(refusal);
    };
    for param in [NODE, VMID] {
        args.set(&param, plain(&guest[param.name]));
    }
    let kind = Guest::of(&guest).noun();
    let note = format!("{} is a {kind}, so {name} was used.", &args[&VMID]);
    args.guest = Some(guest);
    Ok(StandIn {
        entry: other,
        args,
        note,
        refusal,
    })
}
