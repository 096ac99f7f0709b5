//! Files that contain the expected output of the program: `UPDATE_FIXTURES=1 cargo test` rewrites them.

use std::path::{Path, PathBuf};
use std::{env, fs};

/// Fails unless the file at `path`, below the package, contains exactly `actual`.
#[track_caller]
pub(crate) fn check(path: &str, actual: &str) {
    if let Some(difference) = difference(path, actual) {
        panic!("{difference}");
    }
}

/// Returns how the file at `path` differs from `actual`, also if it is missing. When updating, the file is
/// written instead.
pub(crate) fn difference(path: &str, actual: &str) -> Option<String> {
    let file = below_package(path);
    let expected = fs::read_to_string(&file).unwrap_or_default();
    if expected == actual {
        return None;
    }
    if env::var_os("UPDATE_FIXTURES").is_some() {
        // Other tests read fixtures at the same time: they see either the old file or the new one.
        let new = file.with_extension("new");
        fs::write(&new, actual).expect("the folder of the file can be written to");
        fs::rename(&new, &file).expect("the file can be replaced");
        return None;
    }
    // Unlike `lines`, `split` distinguishes a last line with a line end from one without.
    let old: Vec<&str> = expected.split('\n').collect();
    let new: Vec<&str> = actual.split('\n').collect();
    let same = old
        .iter()
        .zip(&new)
        .take_while(|(old, new)| old == new)
        .count();
    Some(format!(
        "{path}:{}: differs; run UPDATE_FIXTURES=1 cargo test and review the diff\n  - {}\n  + {}",
        same + 1,
        old.get(same).unwrap_or(&"(end)"),
        new.get(same).unwrap_or(&"(end)"),
    ))
}

/// Returns the absolute path of `path`.
pub(crate) fn below_package(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}
