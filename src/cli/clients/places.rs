//! Where clients keep their files, by operating system and environment.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum System {
    Linux,
    MacOs,
    Windows,
}

impl System {
    pub(super) const HERE: System = match () {
        () if cfg!(windows) => System::Windows,
        () if cfg!(target_os = "macos") => System::MacOs,
        () => System::Linux,
    };
}

/// What decides where files are.
pub(super) struct Places<'e> {
    pub(super) system: System,
    pub(super) variable: &'e dyn Fn(&str) -> Option<OsString>,
}

impl Places<'_> {
    /// Returns the folder that a variable names; a relative one counts as unset, as XDG has it.
    pub(super) fn named(&self, variable: &str) -> Option<PathBuf> {
        let folder = PathBuf::from((self.variable)(variable)?);
        let is_absolute =
            folder.is_absolute() || (self.system == System::Windows && has_drive(&folder));
        is_absolute.then_some(folder)
    }

    pub(super) fn home(&self) -> Option<PathBuf> {
        self.named(match self.system {
            System::Windows => "USERPROFILE",
            _ => "HOME",
        })
    }

    /// Returns a folder below the home folder.
    pub(super) fn below_home(&self, names: &[&str]) -> Option<PathBuf> {
        Some(join(self.home()?, names))
    }

    /// Returns the folder of configurations as XDG names it, on every system.
    pub(super) fn xdg(&self) -> Option<PathBuf> {
        let named = self.named("XDG_CONFIG_HOME");
        named.or_else(|| self.below_home(&[".config"]))
    }

    /// Returns the folder of the data of applications.
    pub(super) fn applications(&self) -> Option<PathBuf> {
        match self.system {
            System::Linux => self.xdg(),
            System::MacOs => self.below_home(&["Library", "Application Support"]),
            System::Windows => {
                let named = self.named("APPDATA");
                named.or_else(|| self.below_home(&["AppData", "Roaming"]))
            }
        }
    }
}

/// Returns true for a path like `C:\Users`, also where it is not one of this system.
fn has_drive(path: &Path) -> bool {
    let text = path.to_string_lossy();
    matches!(text.as_bytes(), [drive, b':', b'\\' | b'/', ..] if drive.is_ascii_alphabetic())
        || text.starts_with(r"\\")
}

pub(super) fn join(folder: PathBuf, names: &[&str]) -> PathBuf {
    names.iter().fold(folder, |folder, name| folder.join(name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::clients::CLIENTS;

    /// Returns the file of each client that has one.
    fn files(system: System, variables: &[(&str, &str)]) -> Vec<(&'static str, String)> {
        let variable = |name: &str| {
            let mut found = variables.iter().filter(|(known, _)| *known == name);
            found.next().map(|(_, value)| OsString::from(value))
        };
        let places = Places {
            system,
            variable: &variable,
        };
        let files = CLIENTS.iter().filter_map(|client| {
            let file = (client.file)(&places)?.display().to_string();
            // Elsewhere paths are joined with the separator of this system.
            Some((client.name, file.replace('\\', "/")))
        });
        files.collect()
    }

    #[test]
    fn finds_the_files_of_each_system() {
        let expected = |rows: [&'static str; 9]| {
            let names = [
                "claude-desktop",
                "vscode",
                "cursor",
                "codex",
                "gemini-cli",
                "opencode",
                "zed",
                "windsurf",
                "continue",
            ];
            let rows = rows.map(str::to_owned);
            names.into_iter().zip(rows).collect::<Vec<_>>()
        };
        assert_eq!(
            files(System::Linux, &[("HOME", "/h"), ("APPDATA", "/x")]),
            expected([
                "/h/.config/Claude/claude_desktop_config.json",
                "/h/.config/Code/User/mcp.json",
                "/h/.cursor/mcp.json",
                "/h/.codex/config.toml",
                "/h/.gemini/settings.json",
                "/h/.config/opencode/opencode.json",
                "/h/.config/zed/settings.json",
                "/h/.codeium/windsurf/mcp_config.json",
                "/h/.continue/config.yaml",
            ])
        );
        let support = "/h/Library/Application Support";
        let mac = files(System::MacOs, &[("HOME", "/h"), ("XDG_CONFIG_HOME", "/x")]);
        assert_eq!(
            mac[0].1,
            format!("{support}/Claude/claude_desktop_config.json")
        );
        assert_eq!(mac[1].1, format!("{support}/Code/User/mcp.json"));
        assert_eq!(mac[5].1, "/x/opencode/opencode.json");
        assert_eq!(mac[6].1, "/h/.config/zed/settings.json");
        assert_eq!(
            files(
                System::Windows,
                &[
                    ("USERPROFILE", r"C:\Users\me"),
                    ("APPDATA", r"D:\Roaming"),
                    ("HOME", "/h")
                ]
            ),
            expected([
                "D:/Roaming/Claude/claude_desktop_config.json",
                "D:/Roaming/Code/User/mcp.json",
                "C:/Users/me/.cursor/mcp.json",
                "C:/Users/me/.codex/config.toml",
                "C:/Users/me/.gemini/settings.json",
                "C:/Users/me/.config/opencode/opencode.json",
                "D:/Roaming/Zed/settings.json",
                "C:/Users/me/.codeium/windsurf/mcp_config.json",
                "C:/Users/me/.continue/config.yaml",
            ])
        );
        let windows = files(System::Windows, &[("USERPROFILE", r"C:\Users\me")]);
        assert_eq!(
            windows[1].1,
            "C:/Users/me/AppData/Roaming/Code/User/mcp.json"
        );
    }

    #[test]
    fn follows_the_variables_that_move_folders() {
        let moved = files(
            System::Linux,
            &[
                ("HOME", "/h"),
                ("XDG_CONFIG_HOME", "/x"),
                ("CODEX_HOME", "/c"),
                ("GEMINI_CLI_HOME", "/g"),
                ("CONTINUE_GLOBAL_DIR", "relative"),
            ],
        );
        let files: Vec<&str> = moved.iter().map(|(_, file)| file.as_str()).collect();
        assert_eq!(files[1], "/x/Code/User/mcp.json");
        assert_eq!(files[3], "/c/config.toml");
        assert_eq!(files[4], "/g/.gemini/settings.json");
        assert_eq!(files[8], "/h/.continue/config.yaml");
        assert!(self::files(System::Linux, &[("HOME", "")]).is_empty());
    }
}
