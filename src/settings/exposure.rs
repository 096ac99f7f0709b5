//! Which tools the settings show to clients, and why they hide the others.

use std::fmt;

use crate::text::glob::Glob;
use crate::text::list;
use crate::text::nearest::nearest;

/// The name for the toolsets that are shown if none are set.
const DEFAULT: &str = "default";

/// The toolsets of the reference implementation, and those that support them.
const DEFAULT_TOOLSETS: &[&str] = &[
    "nodes",
    "node-admin",
    "guests",
    "lifecycle",
    "modify",
    "snapshots",
    "backups",
    "disks",
    "networking",
    "exec",
    "create",
    "node-disks",
    "tasks",
];

const ALL: &str = "all";

/// Toolsets that have no tools yet, but that settings may already name.
const PLANNED: &[&str] = &["api"];

/// The settings about which tools to show.
#[derive(Clone, Debug, Default)]
pub(crate) struct Exposure {
    /// Whether only tools that change nothing are shown.
    pub(crate) read_only: bool,
    /// The toolsets to show; `None` if not set.
    pub(crate) toolsets: Option<Toolsets>,
    /// The tools to show in addition to the toolsets, or instead of the default ones if no toolsets are set.
    pub(crate) tools: Option<Names>,
    /// The tools to hide, whatever else shows them.
    pub(crate) excluded: Option<Names>,
}

/// Why a tool is hidden.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Hidden {
    Excluded,
    ReadOnly,
    /// No setting shows it.
    Unnamed {
        /// Its toolset, if toolsets decide what is shown.
        toolset: Option<String>,
        /// Whether `PROXMOX_TOOLS` is set.
        by_tools: bool,
    },
}

/// The setting that hides the tool.
impl fmt::Display for Hidden {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Hidden::Excluded => f.write_str("PROXMOX_EXCLUDE_TOOLS names it"),
            Hidden::ReadOnly => f.write_str("PROXMOX_READ_ONLY is set"),
            Hidden::Unnamed { toolset: None, .. } => f.write_str("PROXMOX_TOOLS does not name it"),
            Hidden::Unnamed {
                toolset: Some(toolset),
                by_tools,
            } => {
                write!(f, "PROXMOX_TOOLSETS does not name {toolset}")?;
                f.write_str(if *by_tools {
                    ", nor PROXMOX_TOOLS the tool"
                } else {
                    ""
                })
            }
        }
    }
}

/// The names that settings may contain, in the order of the list of tools.
pub(crate) struct KnownTools {
    pub(crate) toolsets: Vec<&'static str>,
    pub(crate) tools: Vec<&'static str>,
}

impl KnownTools {
    /// Returns the values that `PROXMOX_TOOLSETS` may contain.
    fn choices(&self) -> impl Iterator<Item = &'static str> {
        [DEFAULT, ALL]
            .into_iter()
            .chain(self.toolsets.iter().copied())
    }
}

/// Toolsets by name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Toolsets(Vec<&'static str>);

/// Tools by name or pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Names(Vec<Glob>);

impl Toolsets {
    /// Parses a list; an error follows the name of its setting.
    pub(crate) fn parse(text: &str, known: &KnownTools) -> Result<Self, String> {
        let names = list::each(text, |name| {
            let planned = PLANNED.iter().copied();
            known
                .choices()
                .chain(planned)
                .find(|known| *known == name)
                .ok_or_else(|| {
                    format!(
                        "{}; known: {}",
                        not_a("toolset", name, nearest(name, known.choices())),
                        known.choices().collect::<Vec<_>>().join(", ")
                    )
                })
        });
        names.map(Self)
    }

    /// Returns the toolsets among them that have no tools yet.
    pub(crate) fn without_tools(&self) -> impl Iterator<Item = &'static str> {
        self.0.iter().copied().filter(|name| PLANNED.contains(name))
    }

    fn contain(&self, toolset: &str) -> bool {
        self.0.iter().any(|name| match *name {
            ALL => true,
            DEFAULT => is_default(toolset),
            name => name == toolset,
        })
    }
}

/// Whether clients see the tools of `toolset` unless the settings choose others.
pub(crate) fn is_default(toolset: &str) -> bool {
    DEFAULT_TOOLSETS.contains(&toolset)
}

/// Returns the problem with an unknown name, and suggests a similar one.
fn not_a(kind: &str, name: &str, meant: Option<&str>) -> String {
    let meant = meant.map_or_else(String::new, |name| format!(" (did you mean {name}?)"));
    match name.is_empty() {
        true => "is empty".to_owned(),
        false => format!("is not a {kind}{meant}"),
    }
}

impl Names {
    /// Parses a list of names and patterns; an error follows the name of its setting. A pattern that matches
    /// no tool is invalid.
    pub(crate) fn parse(text: &str, known: &KnownTools) -> Result<Self, String> {
        let names = list::each(text, |name| {
            let glob = Glob::new(name);
            if known.tools.iter().any(|name| glob.matches(name)) {
                return Ok(glob);
            }
            Err(format!(
                "{}; proxmox-mcp tools lists them",
                not_a(
                    "tool or a pattern that matches one",
                    name,
                    nearest(name, known.tools.iter().copied())
                )
            ))
        });
        names.map(Self)
    }

    fn contain(&self, tool: &str) -> bool {
        self.0.iter().any(|name| name.matches(tool))
    }
}

impl Exposure {
    /// Returns the setting that hides the tool `name` of a toolset, if one does.
    pub(crate) fn hides(&self, toolset: &str, name: &str, only_reads: bool) -> Option<Hidden> {
        if self
            .excluded
            .as_ref()
            .is_some_and(|names| names.contain(name))
        {
            return Some(Hidden::Excluded);
        }
        if self.read_only && !only_reads {
            return Some(Hidden::ReadOnly);
        }
        let by_name = self.tools.as_ref().is_some_and(|names| names.contain(name));
        let by_toolset = match (&self.toolsets, &self.tools) {
            (Some(toolsets), _) => toolsets.contain(toolset),
            (None, None) => is_default(toolset),
            (None, Some(_)) => false,
        };
        let (toolset, has_toolsets, has_tools) = (
            toolset.to_owned(),
            self.toolsets.is_some(),
            self.tools.is_some(),
        );
        (!by_name && !by_toolset).then_some(Hidden::Unnamed {
            toolset: (has_toolsets || !has_tools).then_some(toolset),
            by_tools: has_tools,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tools;

    fn shown(exposure: &Exposure) -> Vec<&'static str> {
        tools::shown(exposure).map(|(name, _)| name).collect()
    }

    fn toolsets(text: &str) -> Option<Toolsets> {
        Some(Toolsets::parse(text, &tools::known()).expect("they exist"))
    }

    fn names(text: &str) -> Option<Names> {
        Some(Names::parse(text, &tools::known()).expect("they exist"))
    }

    #[test]
    fn read_only_shows_tools_that_read_even_elevated_ones() {
        let exposure = Exposure {
            read_only: true,
            ..Exposure::default()
        };
        let shown = shown(&exposure);
        assert!(shown.contains(&"proxmox_get_node_status"));
        assert!(shown.contains(&"proxmox_wait_task"));
        assert!(
            !shown.iter().any(|name| name.contains("_stop_")),
            "{shown:?}"
        );
        assert!(shown.len() > 20);
    }

    #[test]
    fn toolsets_and_names_add_up_and_exclusion_wins() {
        let exposure = Exposure {
            toolsets: toolsets("nodes, snapshots"),
            tools: names("proxmox_get_vms,*_backup_vm"),
            excluded: names("proxmox_delete_*"),
            ..Exposure::default()
        };
        let shown = shown(&exposure);
        for name in [
            "proxmox_get_nodes",
            "proxmox_get_vms",
            "proxmox_create_backup_vm",
            "proxmox_list_snapshots_lxc",
        ] {
            assert!(shown.contains(&name), "{name}");
        }
        for name in [
            "proxmox_delete_snapshot_vm",
            "proxmox_start_vm",
            "proxmox_get_storage",
        ] {
            assert!(!shown.contains(&name), "{name}");
        }
    }

    #[test]
    fn tools_without_toolsets_replace_the_default_ones() {
        let exposure = Exposure {
            tools: names("proxmox_get_vms"),
            ..Exposure::default()
        };
        assert_eq!(shown(&exposure), ["proxmox_get_vms"]);
    }

    #[test]
    fn default_and_all_stand_for_toolsets() {
        let count = |text| {
            shown(&Exposure {
                toolsets: toolsets(text),
                ..Exposure::default()
            })
            .len()
        };
        let declared: usize = tools::DOMAINS.iter().map(|domain| domain.tools.len()).sum();
        assert_eq!(count("all"), declared);
        assert_eq!(count("default"), shown(&Exposure::default()).len());
        assert_eq!(count("nodes,default"), count("default"));
        for toolset in DEFAULT_TOOLSETS {
            assert!(count(toolset) > 0, "{toolset}");
        }
    }

    #[test]
    fn planned_toolsets_are_valid_and_have_no_tools() {
        for name in PLANNED {
            let exposure = Exposure {
                toolsets: toolsets(name),
                ..Exposure::default()
            };
            assert_eq!(
                shown(&exposure),
                [""; 0],
                "{name} has tools now: remove it from the list"
            );
            let toolsets = exposure.toolsets.expect("it is set");
            assert_eq!(toolsets.without_tools().collect::<Vec<_>>(), [*name]);
        }
    }

    #[test]
    fn unknown_names_are_rejected_with_the_known_ones() {
        let problem =
            Toolsets::parse("nodes,snapshot", &tools::known()).expect_err("there is none");
        assert!(
            problem.contains("known: default, all, nodes, node-admin, guests"),
            "{problem}"
        );
        let problem = Names::parse("proxmox_get_vmz", &tools::known()).expect_err("there is none");
        assert!(
            problem.contains("did you mean proxmox_get_vms?"),
            "{problem}"
        );
        assert!(problem.starts_with("is not a tool"), "{problem}");
        assert!(
            Names::parse("*_nothing", &tools::known()).is_err()
                && Names::parse("", &tools::known()).is_err()
        );
    }
}
