//! Tools for storages whose behaviour takes more than one call to show.

use std::fs;
use std::path::PathBuf;

use serde_json::{Value, json};

use crate::fake::Fake;
use crate::session::Session;

/// The directory of one test, with `debian.iso`.
pub(crate) struct Uploads(PathBuf);

impl Uploads {
    pub(crate) fn of(name: &str) -> Self {
        let name = format!("proxmox-mcp-uploads-{name}-{}", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::create_dir_all(&path).expect("the directory can be made");
        let path = fs::canonicalize(path).expect("it is there");
        fs::write(path.join("debian.iso"), "PVELAB-ISO").expect("it can be written");
        Self(path)
    }

    pub(crate) fn path(&self) -> &str {
        self.0.to_str().expect("it is UTF-8")
    }

    /// Replaces its path in a text by one that is the same on every machine.
    pub(crate) fn hidden(&self, text: &str) -> String {
        text.replace(self.path(), "/uploads")
    }

    /// Returns the names of the files in it, sorted.
    pub(crate) fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(&self.0).expect("it is there");
        let names = entries.map(|entry| entry.expect("it can be read").file_name());
        let mut names: Vec<String> = names
            .map(|name| name.into_string().expect("it is UTF-8"))
            .collect();
        names.sort();
        names
    }
}

impl Drop for Uploads {
    fn drop(&mut self) {
        // Anything left over is in the directory for temporary files.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Starts a server that also has these settings.
fn connect(fake: &Fake, uploads: &Uploads, more: &[(&str, &str)]) -> Session {
    let own = [
        ("PROXMOX_TOOLSETS", "storage"),
        ("PROXMOX_ALLOW_ELEVATED", "true"),
        ("PROXMOX_UPLOAD_DIRS", uploads.path()),
    ];
    let settings: Vec<_> = own.into_iter().chain(more.iter().copied()).collect();
    fake.connect(&settings)
}

/// Returns the text of a call's result, and whether it is an error.
fn call(session: &mut Session, tool: &str, arguments: Value) -> (String, bool) {
    let result = session.call(tool, arguments);
    let text = result["content"][0]["text"].as_str().unwrap_or_default();
    (text.to_owned(), result["isError"] == true)
}

#[track_caller]
fn assert_holds(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "{part:?} is not in:\n{text}");
    }
}

fn upload(filename: &str) -> Value {
    json!({ "node": "pve1", "storage": "local", "content": "iso", "file_path": "debian.iso", "filename": filename })
}

fn content() -> Value {
    json!({ "request": "GET /nodes/pve1/storage/local/content", "form": ["content=iso"], "answer": { "data": [
        { "volid": "local:iso/t1.iso", "ctime": 1795883177, "content": "iso", "format": "iso", "size": 3300 },
    ] } })
}

fn sent(filename: &str) -> Value {
    json!({
        "request": "POST /nodes/pve1/storage/local/upload",
        "form": ["content=iso", format!("filename={filename} (PVELAB-ISO)")],
        "answer": { "data": "UPID:pve1:000001B1:00092B05:6B0B00A8:imgcopy::root@pam!mcp:" },
    })
}

#[test]
fn confirms_only_an_upload_that_replaces_a_file() {
    let uploads = Uploads::of("confirmed");
    let fake = Fake::playing(json!([content(), sent("new.iso")]));
    let mut session = connect(&fake, &uploads, &[]);
    let (text, is_error) = call(&mut session, "proxmox_upload_file", upload("new.iso"));
    assert!(!is_error, "{text}");
    assert_eq!(fake.problems(), Vec::<String>::new());

    let play = |exchanges: Value| {
        fake.play(serde_json::from_value(exchanges).expect("exchanges as in a fixture"));
    };
    play(json!([content()]));
    let (text, is_error) = call(&mut session, "proxmox_upload_file", upload("t1.iso"));
    assert!(is_error);
    let from = format!("local file={}/debian.iso (10 B)", uploads.path());
    assert_holds(
        &text,
        &[
            "Upload over local:iso/t1.iso: what it holds now is lost.",
            "size=3300",
            &from,
        ],
    );
    assert_eq!(fake.problems(), Vec::<String>::new());
    let (_, token) = text
        .rsplit_once("confirm_token=")
        .expect("it says how to go on");
    play(json!([content(), sent("t1.iso")]));
    let mut arguments = upload("t1.iso");
    arguments["confirm_token"] = token.trim().into();
    let (text, is_error) = call(&mut session, "proxmox_upload_file", arguments);
    assert!(!is_error, "{text}");
    assert_eq!(fake.problems(), Vec::<String>::new());
}

#[test]
fn refuses_what_the_version_does_not_know_before_anything_is_read() {
    let uploads = Uploads::of("versions");
    let version = |version: &str| json!([{ "request": "GET /version", "answer": { "data": { "version": version } } }]);
    let on = json!({ "node": "pve1", "storage": "local" });
    for (tool, more, running, what) in [
        (
            "proxmox_upload_file",
            json!({ "content": "import", "file_path": "debian.iso", "filename": "a.raw" }),
            "7.4-17",
            "content=import needs Proxmox VE 8 or later",
        ),
        (
            "proxmox_download_url",
            json!({ "content": "iso", "url": "https://h/a.iso.gz", "compression": "gz" }),
            "7.4-17",
            "compression needs Proxmox VE 8 or later",
        ),
        (
            "proxmox_download_template",
            json!({ "reference": "alpine:3" }),
            "8.4.1",
            "reference needs Proxmox VE 9 or later",
        ),
        (
            "proxmox_restore_backup_file",
            json!({ "volume": "pbs:backup/vm/100/2026-01-01T00:00:00Z", "path": "/etc", "output_path": "x", "tar": true }),
            "7.4-17",
            "tar needs Proxmox VE 8 or later",
        ),
    ] {
        let fake = Fake::playing(version(running));
        let mut session = connect(&fake, &uploads, &[]);
        let mut arguments = on.clone();
        for (name, value) in more.as_object().expect("an object") {
            arguments[name] = value.clone();
        }
        let (text, is_error) = call(&mut session, tool, arguments);
        assert!(is_error);
        assert_holds(&text, &[what, "nothing was done"]);
        assert_eq!(fake.problems(), Vec::<String>::new(), "{tool}");
    }
    assert_eq!(uploads.names(), ["debian.iso"]);
}

#[test]
fn a_failed_restore_leaves_nothing_behind() {
    let uploads = Uploads::of("failing");
    let fake = Fake::playing(json!([{
        "request": "GET /nodes/pve1/storage/pbs1/file-restore/download",
        "form": ["volume=pbs1:backup/vm/100/2026-01-01T00:00:00Z", "filepath=L2E="],
        "status": 500,
        "answer": { "data": null, "message": "no\n" },
    }]));
    let mut session = connect(&fake, &uploads, &[]);
    let arguments = json!({
        "node": "pve1",
        "storage": "pbs1",
        "volume": "pbs1:backup/vm/100/2026-01-01T00:00:00Z",
        "path": "/a",
        "output_path": "a",
    });
    let (text, is_error) = call(&mut session, "proxmox_restore_backup_file", arguments);
    assert!(is_error, "{text}");
    assert_eq!(fake.problems(), Vec::<String>::new());
    assert_eq!(uploads.names(), ["debian.iso"]);
}

#[test]
fn the_boundaries_of_a_guest_apply_to_its_backups() {
    let uploads = Uploads::of("boundaries");
    let pruned = json!({
        "request": "GET /nodes/pve1/storage/local/prunebackups",
        "form": ["prune-backups=keep-last=1"],
        "answer": { "data": [
            { "volid": "local:backup/a", "vmid": 200, "type": "lxc", "mark": "remove", "ctime": 1793500200 },
            { "volid": "local:backup/b", "vmid": 201, "type": "lxc", "mark": "keep", "ctime": 1793500200 },
        ] },
    });
    let prune = json!({ "node": "pve1", "storage": "local", "keep": "keep-last=1", "apply": true, "all": true });
    let restore = json!({
        "node": "pve1",
        "storage": "pbs1",
        "volume": "pbs1:backup/vm/100/2026-01-01T00:00:00Z",
        "path": "/a",
        "output_path": "a",
        "dry_run": true,
    });
    let update = json!({ "node": "pve1", "storage": "local", "volume": "local:backup/vzdump-lxc-200-2026_11_01-02_30_00.tar.zst", "notes": "x" });
    let attributes = json!({
        "request": "GET /nodes/pve1/storage/local/content/local%3Abackup%2Fvzdump-lxc-200-2026_11_01-02_30_00.tar.zst",
        "answer": { "data": { "protected": 0 } },
    });
    for (tool, arguments, setting, exchanges, refused) in [
        (
            "proxmox_prune_backups",
            &prune,
            ("PROXMOX_PROTECTED", "200"),
            json!([pruned]),
            true,
        ),
        (
            "proxmox_prune_backups",
            &prune,
            ("PROXMOX_GUESTS", "201"),
            json!([pruned]),
            true,
        ),
        (
            "proxmox_update_volume",
            &update,
            ("PROXMOX_PROTECTED", "200"),
            json!([attributes]),
            true,
        ),
        (
            "proxmox_restore_backup_file",
            &restore,
            ("PROXMOX_GUESTS", "200"),
            json!([]),
            true,
        ),
        // It only reads, and changes nothing of the guest.
        (
            "proxmox_restore_backup_file",
            &restore,
            ("PROXMOX_PROTECTED", "100"),
            json!([]),
            false,
        ),
    ] {
        let fake = Fake::playing(exchanges);
        let mut session = connect(&fake, &uploads, &[setting]);
        let (text, is_error) = call(&mut session, tool, arguments.clone());
        assert_eq!(is_error, refused, "{tool} {setting:?}: {text}");
        assert_eq!(text.contains("Permission Denied"), refused, "{text}");
        assert_eq!(fake.problems(), Vec::<String>::new(), "{tool} {setting:?}");
    }
}

#[test]
fn without_directories_touches_no_file_and_names_the_setting() {
    let fake = Fake::start();
    let settings = [
        ("PROXMOX_TOOLSETS", "storage"),
        ("PROXMOX_ALLOW_ELEVATED", "true"),
    ];
    let mut session = fake.connect(&settings);
    let (text, is_error) = call(&mut session, "proxmox_upload_file", upload("new.iso"));
    assert!(is_error);
    assert_holds(
        &text,
        &["🚫 Permission Denied", "PROXMOX_UPLOAD_DIRS is not set"],
    );
    assert_eq!(fake.problems(), Vec::<String>::new());
}

#[test]
fn neither_logs_nor_shows_a_password_in_a_query() {
    let uploads = Uploads::of("password");
    let audit = uploads.0.join("audit.log");
    let audit = audit.to_str().expect("it is UTF-8");
    let fake = Fake::playing(json!([{
        "request": "GET /nodes/pve1/scan/pbs",
        "form": ["server=192.0.2.8", "username=u@pbs", "password=hunter2hunter2"],
        "status": 500,
        "answer": { "data": null, "message": "no store for u@pbs with hunter2hunter2\n" },
    }]));
    let settings = [("PROXMOX_AUDIT_LOG", audit), ("RUST_LOG", "trace")];
    let mut session = connect(&fake, &uploads, &settings);
    let arguments = json!({
        "node": "pve1",
        "kind": "pbs",
        "server": "192.0.2.8",
        "username": "u@pbs",
        "password": "hunter2hunter2",
    });
    let (text, is_error) = call(&mut session, "proxmox_scan_storage", arguments);
    assert!(is_error, "{text}");
    assert_eq!(fake.problems(), Vec::<String>::new());
    let log = session.finish().log;
    let recorded = fs::read_to_string(audit).expect("the call is recorded");
    assert_holds(&recorded, &["proxmox_scan_storage", "u@pbs"]);
    assert_holds(&log, &["GET /nodes/pve1/scan/pbs: 500"]);
    for text in [text, log, recorded] {
        assert!(!text.contains("hunter2"), "{text}");
    }
}
