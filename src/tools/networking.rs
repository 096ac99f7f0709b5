//! Network cards of guests: add, change, remove.

use super::common::Guest;
use super::config::{
    CONFIG_OF_LXC, CONFIG_OF_VM, Config, Settled, change, unknown_whether_it_waits, waits_for_stop,
};
use super::disks::add_options;
use super::guest::{NODE, VMID};
use crate::answer::Answer;
use crate::error::Error;
use crate::param::{Args, Kind, Param};
use crate::pve::property::PropertyString;
use crate::request::{Method::Put, Reply};
use crate::row::{Step, needs};
use crate::safety::Client;
use crate::text::format;
use crate::tool::{Call, Effect, Permission, Tool};

const MODELS: &[&str] = &[
    "virtio",
    "e1000",
    "rtl8139",
    "vmxnet3",
    "e1000e",
    "e1000-82540em",
    "e1000-82544gc",
    "e1000-82545em",
    "i82551",
    "i82557b",
    "i82559er",
    "ne2k_isa",
    "ne2k_pci",
    "pcnet",
];

const NEW_NET: Param = Param::required("net", Kind::Format(&format::NIC), "net0-net31.");
const NET: Param = Param::required("net", Kind::Format(&format::NIC), "");
const BRIDGE: Param = Param::required("bridge", Kind::Format(&format::BRIDGE), "");
const NEW_BRIDGE: Param = Param::optional("bridge", Kind::Format(&format::BRIDGE), "");
const MODEL: Param = Param::optional("model", Kind::Choice(MODELS), "").default("virtio");
const NEW_MODEL: Param = Param::optional("model", Kind::Choice(MODELS), "");
const MACADDR: Param = Param::optional("macaddr", Kind::Format(&format::MAC), "");
const TAG: Param = Param::optional("tag", Kind::Integer(1, 4_094), "VLAN.");
const NEW_TAG: Param = Param::optional("tag", Kind::Integer(0, 4_094), "VLAN; 0 removes it.");
const FIREWALL: Param = Param::optional("firewall", Kind::Flag, "");
const OPTIONS: Param =
    Param::optional("options", Kind::Text(1, 512), "Such as rate=12.5,mtu=1400.");
const NEW_OPTIONS: Param = Param::optional("options", Kind::Text(1, 512), "");
const NAME: Param = Param::optional(
    "name",
    Kind::Format(&format::INTERFACE_NAME),
    "In the container; ethN if absent.",
);
const NEW_NAME: Param = Param::optional("name", Kind::Format(&format::INTERFACE_NAME), "");
const IP: Param = Param::optional(
    "ip",
    Kind::Format(&format::IPV4_CONFIG),
    "CIDR, dhcp or manual.",
);
const GW: Param = Param::optional("gw", Kind::Format(&format::IPV4), "");
const NEW_GW: Param =
    Param::optional("gw", Kind::Format(&format::IPV4), "none removes it.").clearable();
const IP6: Param = Param::optional(
    "ip6",
    Kind::Format(&format::IPV6_CONFIG),
    "CIDR, auto, dhcp or manual.",
);
const GW6: Param = Param::optional("gw6", Kind::Format(&format::IPV6), "");
const NEW_GW6: Param =
    Param::optional("gw6", Kind::Format(&format::IPV6), "none removes it.").clearable();
const HWADDR: Param = Param::optional("hwaddr", Kind::Format(&format::MAC), "").alias(&["macaddr"]);

const VM_REQUESTS: &[Step] = &[
    Step::read("/nodes/{node}/qemu/{vmid}/config", needs::AUDIT),
    CONFIG_OF_VM.also(needs::NETWORK),
    Step::read("/nodes/{node}/qemu/{vmid}/pending", needs::AUDIT),
];
const LXC_REQUESTS: &[Step] = &[
    Step::read("/nodes/{node}/lxc/{vmid}/config", needs::AUDIT),
    CONFIG_OF_LXC.also(needs::NETWORK),
    Step::read("/nodes/{node}/lxc/{vmid}/pending", needs::AUDIT),
];

/// Keys of a line for which the tools have parameters. The model is a key as well, with the MAC address as value.
fn vm_reserved() -> Vec<&'static str> {
    [&["tag", "firewall"], MODELS].concat()
}

const LXC_RESERVED: &[&str] = &["tag", "firewall", "ip", "gw", "ip6", "gw6", "type"];

pub(super) static ADD_VM: Tool = Tool {
    title: "Add network card to VM",
    summary: "Adds a network card to a VM.",
    permission: Permission::Elevated,
    effect: Effect::Adds,
    params: &[
        &NODE, &VMID, &NEW_NET, &BRIDGE, &MODEL, &MACADDR, &TAG, &FIREWALL, &OPTIONS,
    ],
    call: Call::Steps(VM_REQUESTS, |client, args| {
        let mut line = PropertyString::default();
        match args.get(&MACADDR) {
            Some(mac) => line.set(&args[&MODEL], mac),
            None => line.set("model", &args[&MODEL]),
        }
        set_given(&mut line, args, &[&BRIDGE, &TAG, &FIREWALL]);
        add_options(&mut line, args, &OPTIONS, &vm_reserved())?;
        add(client, args, Guest::Vm, |_| line.clone())
    }),
};

pub(super) static ADD_LXC: Tool = Tool {
    title: "Add network card to container",
    summary: "Adds a network card to a container.",
    permission: Permission::Elevated,
    effect: Effect::Adds,
    params: &[
        &NODE, &VMID, &NEW_NET, &BRIDGE, &IP, &GW, &FIREWALL, &NAME, &IP6, &GW6, &HWADDR, &TAG,
        &OPTIONS,
    ],
    call: Call::Steps(LXC_REQUESTS, |client, args| {
        let mut line = PropertyString::default();
        set_given(
            &mut line,
            args,
            &[&BRIDGE, &FIREWALL, &GW, &GW6, &HWADDR, &IP, &IP6, &TAG],
        );
        add_options(&mut line, args, &OPTIONS, LXC_RESERVED)?;
        if let Some(gateway) = gateway_without_address(&line) {
            return Err(Error::arguments(vec![gateway]));
        }
        add(client, args, Guest::Container, |config| {
            let name = args
                .get(&NAME)
                .map_or_else(|| free_name(config, &args[&NET]), str::to_owned);
            let mut line = line.clone();
            line.begin(NAME.name, name);
            line
        })
    }),
};

fn add(
    client: &Client,
    args: &Args,
    guest: Guest,
    line: impl Fn(&Config) -> PropertyString,
) -> Result<Answer, Error> {
    let slot = &args[&NET];
    let (before, _) = change(client, args, guest, Reply::Nothing, |config| {
        config.free(args, guest, slot)?;
        Ok(args
            .request(Put, &guest.path("config"))
            .with(slot, line(config).to_string()))
    })?;
    let what = format!("Add {slot} to {} {}", guest.noun(), &args[&VMID]);
    let settled = Settled::read(client, args, guest, slot);
    // Proxmox fills in what was not given, above all the MAC address.
    let made = settled.as_ref().and_then(|settled| settled.line.clone());
    let sent = line(&before);
    let (outcome, line) = match made {
        Some(line) => (format!("{slot}: {line}"), line),
        None => (
            format!("{slot}: {sent} (as sent; what Proxmox added could not be read)"),
            sent.to_string(),
        ),
    };
    let later = applied_later(guest, &PropertyString::default(), &sent);
    let answer = done(&what, guest, settled.as_ref(), &later, outcome);
    Ok(answer.with("line", line))
}

/// Returns the answer to a change of a card; `outcome` describes the card.
fn done(
    what: &str,
    guest: Guest,
    settled: Option<&Settled>,
    later: &[&str],
    outcome: String,
) -> Answer {
    let waits = settled.is_some_and(|settled| settled.waits);
    let answer = Answer::done_or_saved(what, waits).line(outcome);
    let answer = match settled {
        None => answer.line(unknown_whether_it_waits(guest)),
        Some(_) if waits => answer.line(waits_for_stop(guest)),
        Some(_) => answer,
    };
    match later {
        [] => answer,
        later => answer.note(format!(
            "{}: takes effect when the container next starts.",
            later.join(", ")
        )),
    }
}

/// Returns the changed keys of a line that Proxmox saves but does not apply to a running container
/// (`PVE/LXC.pm`, `update_net`). In VMs such changes count as pending.
fn applied_later(
    guest: Guest,
    before: &PropertyString,
    after: &PropertyString,
) -> Vec<&'static str> {
    const LATER: &[&str] = &["mtu", "trunks"];
    match guest {
        Guest::Vm => Vec::new(),
        Guest::Container => LATER
            .iter()
            .filter(|key| before.get(key) != after.get(key))
            .copied()
            .collect(),
    }
}

/// Returns `eth1` for `net1`, or the next name that no other card has.
fn free_name(config: &Config, slot: &str) -> String {
    let used: Vec<String> = config
        .slots(&["net"])
        .into_iter()
        .filter_map(|slot| config.get(slot))
        .filter_map(|line| PropertyString::parse(&line).get("name").map(str::to_owned))
        .collect();
    let wanted: u32 = slot.trim_start_matches("net").parse().unwrap_or(0);
    (wanted..)
        .map(|number| format!("eth{number}"))
        .find(|name| !used.contains(name))
        .unwrap_or_default()
}

pub(super) static UPDATE_VM: Tool = Tool {
    title: "Change network card of VM",
    summary: "Changes a VM's network card; what is not given is kept, the MAC address included.",
    permission: Permission::Elevated,
    effect: Effect::Rewrites,
    params: &[
        &NODE,
        &VMID,
        &NET,
        &NEW_BRIDGE,
        &NEW_MODEL,
        &MACADDR,
        &NEW_TAG,
        &FIREWALL,
        &NEW_OPTIONS,
    ],
    call: Call::Steps(VM_REQUESTS, |client, args| {
        let tool = &UPDATE_VM;
        update(client, args, Guest::Vm, tool, &vm_reserved(), |line| {
            set_model(line, args.get(&NEW_MODEL), args.get(&MACADDR));
            set_given(line, args, &[&NEW_BRIDGE, &NEW_TAG, &FIREWALL]);
        })
    }),
};

pub(super) static UPDATE_LXC: Tool = Tool {
    title: "Change network card of container",
    summary: "Changes a container's network card; what is not given is kept, the MAC address included.",
    permission: Permission::Elevated,
    effect: Effect::Rewrites,
    params: &[
        &NODE,
        &VMID,
        &NET,
        &NEW_BRIDGE,
        &IP,
        &NEW_GW,
        &FIREWALL,
        &NEW_NAME,
        &IP6,
        &NEW_GW6,
        &NEW_TAG,
        &NEW_OPTIONS,
    ],
    call: Call::Steps(LXC_REQUESTS, |client, args| {
        update(
            client,
            args,
            Guest::Container,
            &UPDATE_LXC,
            LXC_RESERVED,
            |line| {
                // A gateway requires a fixed address.
                for (address, gateway) in [(IP, NEW_GW), (IP6, NEW_GW6)] {
                    if args
                        .get(&address)
                        .is_some_and(|address| !address.contains('/'))
                        && args.get(&gateway).is_none()
                    {
                        line.remove(gateway.name);
                    }
                }
                set_given(
                    line,
                    args,
                    &[
                        &NEW_NAME,
                        &NEW_BRIDGE,
                        &FIREWALL,
                        &NEW_GW,
                        &NEW_GW6,
                        &IP,
                        &IP6,
                        &NEW_TAG,
                    ],
                );
            },
        )
    }),
};

fn update(
    client: &Client,
    args: &Args,
    guest: Guest,
    tool: &Tool,
    reserved: &[&str],
    edit: impl Fn(&mut PropertyString),
) -> Result<Answer, Error> {
    // Every parameter is a change, except those that select the card.
    let changes = || {
        tool.params
            .iter()
            .filter(|param| ![NODE.name, VMID.name, NET.name].contains(&param.name))
    };
    args.require_any(changes()).map_err(Error::arguments)?;
    let mut options = PropertyString::default();
    add_options(&mut options, args, &OPTIONS, reserved)?;
    let slot = &args[&NET];
    let edited = |line: &str| {
        let mut line = PropertyString::parse(line);
        edit(&mut line);
        line.merge(&options);
        line
    };
    let (config, _) = change(client, args, guest, Reply::Nothing, |config| {
        let before = config.used(args, guest, slot, &["net"])?;
        let line = edited(&before);
        if let Some(gateway) = gateway_without_address(&line) {
            return Err(Error::impossible(
                format!(
                    "{slot} of {} {} was not changed",
                    guest.noun(),
                    &args[&VMID]
                ),
                format!("{gateway}\n{slot} is {before}"),
            ));
        }
        Ok(args
            .request(Put, &guest.path("config"))
            .with(slot, line.to_string()))
    })?;
    let before = config.get(slot).unwrap_or_default();
    let after = edited(&before);
    let later = applied_later(guest, &PropertyString::parse(&before), &after);
    let what = format!("Change {slot} of {} {}", guest.noun(), &args[&VMID]);
    let settled = Settled::read(client, args, guest, slot);
    let outcome = format!("before: {before}\nafter: {after}");
    let answer = done(&what, guest, settled.as_ref(), &later, outcome);
    Ok(answer
        .with("before", before)
        .with("after", after.to_string()))
}

/// Sets the given parameters; a tag of 0 and an empty gateway remove theirs.
fn set_given(line: &mut PropertyString, args: &Args, params: &[&Param]) {
    for param in params {
        match args.get(param) {
            None => (),
            Some("") => line.remove(param.name),
            Some("0") if param.name == TAG.name => line.remove(TAG.name),
            Some(value) => line.set(param.name, value),
        }
    }
}

/// Changes model and MAC address, which form a pair: `virtio=BC:24:11:5A:7D:01`.
///
/// Without its MAC address, the card would get a new one on every write.
fn set_model(line: &mut PropertyString, model: Option<&str>, mac: Option<&str>) {
    if model.is_none() && mac.is_none() {
        return;
    }
    let pair = line
        .find(|key| MODELS.contains(&key))
        .map(|(model, mac)| (model.to_owned(), mac.to_owned()));
    let old_model = match &pair {
        Some((model, _)) => model.clone(),
        None => line
            .get("model")
            .or(line.get(""))
            .unwrap_or("virtio")
            .to_owned(),
    };
    let old_mac = pair
        .map(|(_, mac)| mac)
        .or_else(|| line.get("macaddr").map(str::to_owned));
    for key in [&*old_model, "model", "macaddr", ""] {
        line.remove(key);
    }
    let model = model.unwrap_or(&old_model);
    match mac.map(str::to_owned).or(old_mac) {
        Some(mac) => line.begin(model, mac),
        None => line.begin("model", model),
    }
}

/// Describes the problem of a gateway without a fixed address, if there is one.
fn gateway_without_address(line: &PropertyString) -> Option<String> {
    [
        ("ip", "gw", "192.0.2.10/24"),
        ("ip6", "gw6", "2001:db8::10/64"),
    ]
    .into_iter()
    .find(|(address, gateway, _)| {
        let fixed = line.get(address).is_some_and(|value| value.contains('/'));
        line.get(gateway).is_some() && !fixed
    })
    .map(|(address, gateway, example)| {
        format!("{gateway} needs a fixed {address}, such as {address}={example}")
    })
}

pub(super) static REMOVE_VM: Tool = Tool {
    title: "Remove network card from VM",
    summary: "Removes a network card from a VM.",
    permission: Permission::Elevated,
    effect: Effect::Disrupts,
    params: &[&NODE, &VMID, &NET],
    call: Call::Steps(VM_REQUESTS, |client, args| remove(client, args, Guest::Vm)),
};

pub(super) static REMOVE_LXC: Tool = Tool {
    title: "Remove network card from container",
    summary: "Removes a network card from a container.",
    permission: Permission::Elevated,
    effect: Effect::Disrupts,
    params: &[&NODE, &VMID, &NET],
    call: Call::Steps(LXC_REQUESTS, |client, args| {
        remove(client, args, Guest::Container)
    }),
};

fn remove(client: &Client, args: &Args, guest: Guest) -> Result<Answer, Error> {
    let slot = &args[&NET];
    let (before, _) = change(client, args, guest, Reply::Nothing, |config| {
        config.used(args, guest, slot, &["net"])?;
        Ok(args
            .request(Put, &guest.path("config"))
            .with("delete", slot))
    })?;
    let line = before.get(slot).unwrap_or_default();
    let settled = Settled::read(client, args, guest, slot);
    let waits = settled.map(|settled| settled.waits);
    let what = format!("Remove {slot} from {} {}", guest.noun(), &args[&VMID]);
    let answer = Answer::done_or_saved(&what, waits == Some(true))
        .line(format!("before: {slot}: {line}"))
        .with("before", line);
    Ok(match waits {
        None => answer.line(unknown_whether_it_waits(guest)),
        Some(true) => answer.line(format!("It stays until the {} stops.", guest.noun())),
        Some(false) => answer,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(line: &str, model: Option<&str>, mac: Option<&str>, after: &str) {
        let mut line = PropertyString::parse(line);
        set_model(&mut line, model, mac);
        assert_eq!(line.to_string(), after);
    }

    #[test]
    fn keeps_the_mac_address_when_the_model_changes() {
        let mac = "BC:24:11:5A:7D:01";
        check(
            &format!("virtio={mac},bridge=vmbr0"),
            Some("e1000"),
            None,
            &format!("e1000={mac},bridge=vmbr0"),
        );
        check(
            &format!("model=virtio,macaddr={mac},bridge=vmbr0"),
            Some("e1000"),
            None,
            &format!("e1000={mac},bridge=vmbr0"),
        );
        check(
            &format!("bridge=vmbr0,virtio={mac}"),
            None,
            None,
            &format!("bridge=vmbr0,virtio={mac}"),
        );
        check(
            &format!("virtio={mac},tag=5"),
            None,
            Some("02:00:00:00:00:01"),
            "virtio=02:00:00:00:00:01,tag=5",
        );
        check(
            "virtio,bridge=vmbr0",
            Some("e1000"),
            None,
            "model=e1000,bridge=vmbr0",
        );
    }
}
