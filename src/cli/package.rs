//! Packages for users to install: the Claude Desktop bundle and the entry for the MCP registry.

use std::env;
use std::fs::{self, File};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};

use crate::cli::clients::{list_of, quoted, word};
use crate::cli::commands;
use crate::error::Error;
use crate::pve::trust;
use crate::settings::{Flag, SETTINGS, Setting, Unset};
use crate::text::add;

const VERSION: &str = env!("CARGO_PKG_VERSION");
const DESCRIPTION: &str = env!("CARGO_PKG_DESCRIPTION");
const LICENSE: &str = env!("CARGO_PKG_LICENSE");

/// `repository` of Cargo.toml, empty if it has none.
const REPOSITORY: &str = env!("CARGO_PKG_REPOSITORY");

/// The placeholder for a missing repository, in which `OWNER` is to be replaced.
const NO_REPOSITORY: &str = "https://github.com/OWNER/proxmox-mcp";

/// The picture that Claude Desktop shows; `icon.svg` is its drawing.
static ICON: &[u8] = include_bytes!("icon.png");

/// An operating system, as bundles call it, and what the program is called there.
#[derive(Clone, Copy, PartialEq, Eq)]
struct System {
    name: &'static str,
    program: &'static str,
}

/// The systems that bundles know. They do not tell processors apart.
static SYSTEMS: &[System] = &[
    System {
        name: "linux",
        program: "proxmox-mcp",
    },
    System {
        name: "darwin",
        program: "proxmox-mcp",
    },
    System {
        name: "win32",
        program: "proxmox-mcp.exe",
    },
];

impl System {
    /// Returns the system of this binary.
    fn own() -> Self {
        let name = match env::consts::OS {
            "macos" => "darwin",
            "windows" => "win32",
            name => name,
        };
        let own = SYSTEMS.iter().find(|system| system.name == name);
        *own.unwrap_or(&SYSTEMS[0])
    }

    /// Returns the path of the program in the bundle.
    fn path(self) -> String {
        format!("server/{}/{}", self.name, self.program)
    }
}

/// Writes the folder of a bundle, for `mcpb pack`, and returns the paths written and the command to pack
/// them.
///
/// The programs are those that `.ci/release` put into `binaries`, or this one for its own system. The format is
/// that of manifest version 0.3 (github.com/anthropics/mcpb, MANIFEST.md). Nothing is overwritten.
pub(crate) fn bundle(folder: &Path, binaries: Option<&Path>) -> Result<String, Error> {
    let (systems, suffix) = match binaries {
        None => {
            let own = System::own();
            (vec![own], format!("-{}-{}", own.name, env::consts::ARCH))
        }
        Some(binaries) => {
            let is_there = |system: &System| binaries.join(system.name).join(system.program);
            let systems = SYSTEMS.iter().copied();
            let systems: Vec<System> = systems.filter(|it| is_there(it).is_file()).collect();
            (systems, String::new())
        }
    };
    if systems.is_empty() {
        let places = SYSTEMS
            .iter()
            .map(|it| format!("{}/{}", it.name, it.program));
        let places: Vec<String> = places.collect();
        let binaries = binaries.unwrap_or(Path::new("")).display();
        return Err(Error::impossible(
            format!("there is no program in {binaries}"),
            format!(
                "Name the folder that .ci/release made: it has {}.",
                places.join(", ")
            ),
        ));
    }
    let written = write_bundle(folder, &systems, binaries).map_err(|err| {
        Error::impossible(
            format!("cannot write a bundle into {}", folder.display()),
            format!("{err}\nName an empty or new folder that you can write to."),
        )
    })?;
    let written = written.iter().map(|path| format!("{}\n", path.display()));
    Ok(format!(
        "{}\nTo pack it:\n  npx @anthropic-ai/mcpb pack {} proxmox-mcp-{VERSION}{suffix}.mcpb\n",
        written.collect::<String>(),
        word(&folder.to_string_lossy()),
    ))
}

/// Writes the files of a bundle, and returns their paths.
fn write_bundle(
    folder: &Path,
    systems: &[System],
    binaries: Option<&Path>,
) -> io::Result<Vec<PathBuf>> {
    let server = folder.join("server");
    match fs::create_dir(folder) {
        Err(err) if err.kind() != ErrorKind::AlreadyExists => return Err(err),
        _ => fs::create_dir(&server)?,
    }
    let mut written = Vec::new();
    for (name, content) in [
        ("manifest.json", manifest(systems).as_bytes()),
        ("icon.png", ICON),
    ] {
        let path = folder.join(name);
        File::create_new(&path)?.write_all(content)?;
        written.push(path);
    }
    for system in systems {
        let to = server.join(system.name);
        fs::create_dir(&to)?;
        // A copy has the mode of the original, which makes it executable.
        let mut copy = |from: &Path, name: &str| {
            let path = to.join(name);
            fs::copy(from, &path)?;
            written.push(path);
            io::Result::Ok(())
        };
        match binaries.map(|binaries| binaries.join(system.name)) {
            None => copy(&env::current_exe()?, system.program)?,
            Some(from) => {
                for name in [system.program, "LICENSE", "THIRD-PARTY-LICENSES"] {
                    copy(&from.join(name), name)?;
                }
            }
        }
    }
    Ok(written)
}

/// Returns the manifest of the bundle. The first system has the command, the others override it.
fn manifest(systems: &[System]) -> String {
    let mut fields = Vec::new();
    let mut variables = Vec::new();
    for setting in asked() {
        let field = setting.name().to_lowercase();
        let variable = setting.variable;
        variables.push(format!(
            "        \"{variable}\": \"${{user_config.{field}}}\""
        ));
        fields.push(format!("    \"{field}\": {}", field_of(setting)));
    }
    let repository = match REPOSITORY {
        "" => String::new(),
        url => format!(
            "\n  \"repository\": {{ \"type\": \"git\", \"url\": {} }},",
            quoted(url)
        ),
    };
    let (variables, fields) = (variables.join(",\n"), fields.join(",\n"));
    let (description, license) = (quoted(DESCRIPTION), quoted(LICENSE));
    let program = systems[0].path();
    let overrides = systems[1..].iter().map(|system| {
        format!(
            "        \"{}\": {{ \"command\": \"${{__dirname}}/{}\" }}",
            system.name,
            system.path()
        )
    });
    let overrides: Vec<String> = overrides.collect();
    let overrides = match overrides.is_empty() {
        true => String::new(),
        false => format!(
            ",\n      \"platform_overrides\": {{\n{}\n      }}",
            overrides.join(",\n")
        ),
    };
    let platforms: Vec<&str> = systems.iter().map(|system| system.name).collect();
    let platforms = list_of(&platforms);
    format!(
        r#"{{
  "manifest_version": "0.3",
  "name": "proxmox-mcp",
  "display_name": "Proxmox VE",
  "version": "{VERSION}",
  "description": {description},
  "author": {{ "name": "the proxmox-mcp authors" }},{repository}
  "license": {license},
  "icon": "icon.png",
  "server": {{
    "type": "binary",
    "entry_point": "{program}",
    "mcp_config": {{
      "command": "${{__dirname}}/{program}",
      "args": [],
      "env": {{
{variables}
      }}{overrides}
    }}
  }},
  "tools_generated": true,
  "compatibility": {{ "platforms": {platforms} }},
  "user_config": {{
{fields}
  }}
}}
"#
    )
}

/// Returns the settings that a form asks for: the secret itself, which clients store safely, rather than a
/// file that contains it.
fn asked() -> impl Iterator<Item = &'static Setting> {
    SETTINGS
        .iter()
        .copied()
        .filter(|setting| !setting.stands_for_secret())
}

fn is_required(setting: &Setting) -> bool {
    setting.is_secret() || matches!(setting.unset, Unset::Missing)
}

/// Returns a field of the form that Claude Desktop shows.
///
/// A field that is neither required nor has a default would be passed on as `${user_config.x}`. The default
/// is empty, and the description says what that means: another default would be passed on as if the user had
/// chosen it, and a port would then conflict with one in the host.
fn field_of(setting: &Setting) -> String {
    let (kind, default) = match (&setting.flag, &setting.unset) {
        (Flag::Switch, Unset::Means(default)) => ("boolean", *default),
        _ if setting.is_file() => ("file", "\"\""),
        _ => ("string", "\"\""),
    };
    let rest = match (setting.is_secret(), is_required(setting)) {
        (true, _) => r#""sensitive": true, "required": true"#.to_owned(),
        (false, true) => r#""required": true"#.to_owned(),
        (false, false) => format!("\"default\": {default}, \"required\": false"),
    };
    let (title, description) = (quoted(&title(setting)), quoted(&description(setting)));
    format!(
        "{{ \"type\": \"{kind}\", \"title\": {title}, \"description\": {description}, {rest} }}"
    )
}

/// Returns the title of a setting: `SSL mode` for `PROXMOX_SSL_MODE`.
fn title(setting: &Setting) -> String {
    let words = setting.name().split('_').enumerate();
    let words = words.map(|(index, word)| match word {
        "CA" | "SSL" | "TOTP" => word.to_owned(),
        _ if index == 0 => word[..1].to_owned() + &word[1..].to_lowercase(),
        _ => word.to_lowercase(),
    });
    let words: Vec<String> = words.collect();
    words.join(" ")
}

/// Returns what a setting means in a form that has no other setting for the secret.
fn description(setting: &Setting) -> String {
    match is_required(setting) {
        true if setting.is_secret() => commands::name_of(setting),
        true => setting.meaning.replace('`', ""),
        false => commands::meaning(setting),
    }
}

/// Returns the entry for the MCP registry, with these bundles and the container image.
///
/// The format is that of
/// <https://static.modelcontextprotocol.io/schemas/2025-12-11/server.schema.json>.
pub(crate) fn registry_entry(bundles: &[PathBuf]) -> Result<String, Error> {
    let repository = match REPOSITORY {
        "" => {
            log::warn!(
                "Cargo.toml names no repository: replace OWNER with the owner of yours, or set \
                 `repository` in Cargo.toml and build again"
            );
            NO_REPOSITORY
        }
        url => url.trim_end_matches('/').trim_end_matches(".git"),
    };
    let mut parts = repository.trim_start_matches("https://").split('/');
    let host = parts.next().unwrap_or_default();
    let source = host.split('.').next().unwrap_or_default();
    let owner = parts.next().unwrap_or_default();
    let variables: Vec<String> = asked().map(variable_of).collect();
    let variables = variables.join(",\n");
    let mut packages = Vec::new();
    for bundle in bundles {
        let read = fs::read(bundle).map_err(|err| {
            Error::impossible(
                format!("cannot read {}", bundle.display()),
                format!("{err}\nName files written by `mcpb pack`."),
            )
        })?;
        let sha256 = trust::fingerprint(&trust::sha256(&read)).replace(':', "");
        let name = bundle.file_name().unwrap_or_default().to_string_lossy();
        let url = quoted(&format!("{repository}/releases/download/v{VERSION}/{name}"));
        packages.push(format!(
            "\"registryType\": \"mcpb\",\n      \"identifier\": {url},\n      \
             \"version\": \"{VERSION}\",\n      \"fileSha256\": \"{}\"",
            sha256.to_lowercase()
        ));
    }
    let image = format!("ghcr.io/{owner}/proxmox-mcp:{VERSION}");
    packages.push(format!(
        "\"registryType\": \"oci\",\n      \"identifier\": {}",
        // Image names must be in lower case.
        quoted(&match owner {
            "OWNER" => image,
            _ => image.to_lowercase(),
        })
    ));
    let packages = packages.iter().map(|package| {
        format!(
            r#"    {{
      {package},
      "transport": {{ "type": "stdio" }},
      "environmentVariables": [
{variables}
      ]
    }}"#
        )
    });
    let packages: Vec<String> = packages.collect();
    let packages = packages.join(",\n");
    let (description, url) = (quoted(DESCRIPTION), quoted(repository));
    Ok(format!(
        r#"{{
  "$schema": "https://static.modelcontextprotocol.io/schemas/2025-12-11/server.schema.json",
  "name": "io.{source}.{owner}/proxmox-mcp",
  "title": "Proxmox VE",
  "description": {description},
  "version": "{VERSION}",
  "repository": {{ "url": {url}, "source": "{source}" }},
  "packages": [
{packages}
  ]
}}
"#
    ))
}

/// Returns a setting in the form of the registry.
fn variable_of(setting: &Setting) -> String {
    let format = match (&setting.flag, &setting.unset) {
        (Flag::Switch, _) => "boolean",
        _ if setting.is_file() => "filepath",
        (_, Unset::Means(text)) if text.parse::<u32>().is_ok() => "number",
        _ => "string",
    };
    let mut text = format!(
        "        {{ \"name\": \"{}\", \"description\": {}, \"format\": \"{format}\"",
        setting.variable,
        quoted(&description(setting))
    );
    match (&setting.flag, &setting.unset) {
        (Flag::Switch, Unset::Means(default)) => {
            add(
                &mut text,
                format_args!(", \"default\": {}", quoted(default)),
            );
        }
        // No default, as in the bundle: clients would pass it on.
        (_, Unset::Means(default)) => {
            add(
                &mut text,
                format_args!(", \"placeholder\": {}", quoted(default)),
            );
        }
        _ => (),
    }
    if let Flag::OneOf(_, words) = setting.flag {
        add(&mut text, format_args!(", \"choices\": {}", list_of(words)));
    }
    if is_required(setting) {
        text.push_str(", \"isRequired\": true");
    }
    if setting.is_secret() {
        text.push_str(", \"isSecret\": true");
    }
    text + " }"
}
