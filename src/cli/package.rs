//! What others install: the Claude Desktop bundle and the entry for the MCP registry.

use std::env;
use std::fs::{self, File};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};

use crate::cli::clients::{list, quoted, word};
use crate::cli::commands;
use crate::error::Error;
use crate::pve::trust;
use crate::settings::{Flag, SETTINGS, Setting, Unset};
use crate::text::add;

const VERSION: &str = env!("CARGO_PKG_VERSION");
const DESCRIPTION: &str = env!("CARGO_PKG_DESCRIPTION");
const LICENSE: &str = env!("CARGO_PKG_LICENSE");

/// `repository` of Cargo.toml, empty where that has none.
const REPOSITORY: &str = env!("CARGO_PKG_REPOSITORY");

/// What stands in the place of it: `OWNER` is to be replaced.
const NO_REPOSITORY: &str = "https://github.com/OWNER/proxmox-mcp";

/// Writes the folder of a bundle, which `mcpb pack` makes a file of, and says what was written.
///
/// The format is that of manifest version 0.3 (github.com/anthropics/mcpb, MANIFEST.md). Nothing is
/// overwritten.
pub(crate) fn bundle(folder: &Path) -> Result<String, Error> {
    let program = program();
    write_bundle(folder, &program).map_err(|err| {
        Error::impossible(
            format!("no bundle was made in {}", folder.display()),
            format!("{err}\nGive a folder that is empty or new, where you may write."),
        )
    })?;
    Ok(format!(
        "{folder}/manifest.json\n{folder}/{program}\n\nTo pack it:\n  \
         npx @anthropic-ai/mcpb pack {quoted} proxmox-mcp-{VERSION}-{platform}-{machine}.mcpb\n",
        folder = folder.display(),
        quoted = word(&folder.to_string_lossy()),
        platform = platform(),
        machine = env::consts::ARCH,
    ))
}

fn write_bundle(folder: &Path, program: &str) -> io::Result<()> {
    match fs::create_dir(folder) {
        Err(err) if err.kind() != ErrorKind::AlreadyExists => return Err(err),
        _ => fs::create_dir(folder.join("server"))?,
    }
    let mut manifest_file = File::create_new(folder.join("manifest.json"))?;
    manifest_file.write_all(manifest(program).as_bytes())?;
    let running = env::current_exe()?;
    let file = folder.join(program);
    fs::write(&file, fs::read(&running)?)?;
    // The mode makes it a program.
    fs::set_permissions(&file, fs::metadata(&running)?.permissions())
}

/// Where the binary is in the bundle.
fn program() -> String {
    format!("server/proxmox-mcp{}", env::consts::EXE_SUFFIX)
}

/// What bundles call the system that this binary is for.
fn platform() -> &'static str {
    match env::consts::OS {
        "macos" => "darwin",
        "windows" => "win32",
        system => system,
    }
}

/// A bundle has one binary, so there are no overrides for other platforms.
fn manifest(program: &str) -> String {
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
    let platform = platform();
    format!(
        r#"{{
  "manifest_version": "0.3",
  "name": "proxmox-mcp",
  "display_name": "Proxmox VE",
  "version": "{VERSION}",
  "description": {description},
  "author": {{ "name": "the proxmox-mcp authors" }},{repository}
  "license": {license},
  "server": {{
    "type": "binary",
    "entry_point": "{program}",
    "mcp_config": {{
      "command": "${{__dirname}}/{program}",
      "args": [],
      "env": {{
{variables}
      }}
    }}
  }},
  "tools_generated": true,
  "compatibility": {{ "platforms": ["{platform}"] }},
  "user_config": {{
{fields}
  }}
}}
"#
    )
}

/// The settings that a form asks for: the secret itself, which clients keep safe, and no file.
fn asked() -> impl Iterator<Item = &'static Setting> {
    SETTINGS
        .iter()
        .copied()
        .filter(|setting| !setting.stands_for_secret())
}

fn is_required(setting: &Setting) -> bool {
    setting.is_secret() || matches!(setting.unset, Unset::Missing)
}

/// A field of the form that Claude Desktop shows.
///
/// A field that is neither required nor has a default would be passed on as `${user_config.x}`. The
/// default is nothing, and what that means is said: a value would be passed on as if it was chosen,
/// and a port would then contradict the one in the host.
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

/// `PROXMOX_SSL_MODE` as `SSL mode`.
fn title(setting: &Setting) -> String {
    let words = setting.name().split('_').enumerate();
    let words = words.map(|(index, word)| match word {
        "CA" | "SSL" => word.to_owned(),
        _ if index == 0 => word[..1].to_owned() + &word[1..].to_lowercase(),
        _ => word.to_lowercase(),
    });
    let words: Vec<String> = words.collect();
    words.join(" ")
}

/// What the setting means, where none other stands for the secret.
fn description(setting: &Setting) -> String {
    match is_required(setting) {
        true if setting.is_secret() => commands::name_of(setting),
        true => setting.meaning.replace('`', ""),
        false => commands::meaning(setting),
    }
}

/// The entry for the MCP registry, with these bundles and the container image.
///
/// The format is that of
/// <https://static.modelcontextprotocol.io/schemas/2025-12-11/server.schema.json>.
pub(crate) fn registry_entry(bundles: &[PathBuf]) -> Result<String, Error> {
    let repository = match REPOSITORY {
        "" => {
            log::warn!(
                "Cargo.toml names no repository: put the owner of yours where OWNER stands, or set \
                 `repository` there and build again"
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
                format!("{} cannot be read", bundle.display()),
                format!("{err}\nGive the files that `mcpb pack` made."),
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
        // Names of images are in lower case.
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

/// A setting as the registry describes it.
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
        // As in the bundle no default, which clients would pass on.
        (_, Unset::Means(default)) => {
            add(
                &mut text,
                format_args!(", \"placeholder\": {}", quoted(default)),
            );
        }
        _ => (),
    }
    if let Flag::OneOf(_, words) = setting.flag {
        add(&mut text, format_args!(", \"choices\": {}", list(words)));
    }
    if is_required(setting) {
        text.push_str(", \"isRequired\": true");
    }
    if setting.is_secret() {
        text.push_str(", \"isSecret\": true");
    }
    text + " }"
}
