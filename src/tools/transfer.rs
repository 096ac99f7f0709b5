//! Files that come to a storage, from this machine or from the network, and files out of a backup.

use serde_json::{Value, json};

use super::common::{NODE, STORAGE};
use crate::answer::{self, Answer, Column, LIMIT, OFFSET, Order, Table, number, plain};
use crate::cluster::tasks::{WAIT, WAIT_TIMEOUT};
use crate::cluster::volumes::CONTENT_REQUEST;
use crate::error::Error;
use crate::param::{Args, Kind, Param, Versions};
use crate::request::{
    Method::{Get, Post},
    Reply, Request,
};
use crate::row::{Harm, Loss, Step, Touches, needs};
use crate::safety::Client;
use crate::text;
use crate::text::base64::STANDARD;
use crate::text::format;
use crate::tool::{Call, Effect, Permission, Tool, check_version, start_task};

const CONTENT: Param = Param::required("content", Kind::Choice(&["iso", "vztmpl", "import"]), "")
    .values_known_to(&[("import", Versions::since(8))]);
const FILE_PATH: Param = Param::required(
    "file_path",
    Kind::Text(1, 4_096),
    "On this machine, in PROXMOX_UPLOAD_DIRS.",
)
.local();
const FILENAME: Param = Param::optional("filename", Kind::Text(1, 255), "Name on the storage.");
const CHECKSUM: Param = Param::optional("checksum", Kind::Format(&format::CHECKSUM), "");
const ALGORITHM: Param = Param::optional(
    "checksum_algorithm",
    Kind::Choice(&["md5", "sha1", "sha224", "sha256", "sha384", "sha512"]),
    "By the checksum's length if absent.",
)
.sent_as("checksum-algorithm");

const TEMPLATES: &str = "/storage/{storage}:Datastore.AllocateTemplate";
const NETWORK: &str = "/nodes/{node}:Sys.AccessNetwork or /:Sys.Modify";

pub(super) static UPLOAD: Tool = Tool {
    title: "Upload file",
    summary: "Uploads an ISO image, template or disk image from this machine to a storage.",
    permission: Permission::Elevated,
    effect: Effect::Destroys,
    params: &[
        &NODE,
        &STORAGE,
        &CONTENT,
        &FILE_PATH,
        &FILENAME,
        &CHECKSUM,
        &ALGORITHM,
        &WAIT,
        &WAIT_TIMEOUT,
    ],
    call: Call::Steps(
        &[
            CONTENT_REQUEST.dispensable(),
            Step::change(
                Post,
                "/nodes/{node}/storage/{storage}/upload",
                &[TEMPLATES],
                Touches::NoGuest,
                Harm::Judged(overwrites),
            ),
        ],
        upload,
    ),
};

fn upload(client: &Client, args: &Args) -> Result<Answer, Error> {
    require(client, args, &[&CONTENT])?;
    let source = client.files().open(&args[&FILE_PATH])?;
    let given = args
        .get(&FILENAME)
        .map_or_else(|| source.name(), str::to_owned);
    let name = stored_name(&args[&CONTENT], &given)?;
    let checksum = checksum(args)?;
    let found = find(client, args, &name)?;
    client.show_before(&found);
    let request = args
        .request(Post, "/nodes/{node}/storage/{storage}/upload")
        .with("content", &args[&CONTENT]);
    let request = with_checksum(request, checksum).with("filename", &*name);
    let size = text::bytes(source.size() as f64);
    let what = format!("Upload {} ({size})", volume_id(args, &name));
    let request = request.with_file(source.sent());
    arriving(client, args, &request, &what, &name, &given)
}

/// Refuses what of these the host's version does not know.
fn require(client: &Client, args: &Args, params: &[&Param]) -> Result<(), Error> {
    let mut limits = params.iter().filter_map(|param| param.versions(args));
    limits.try_for_each(|(what, versions)| check_version(client, &what, versions))
}

/// What an upload replaces: Proxmox overwrites a file of the same name.
fn overwrites(_: &Request, found: &Value) -> Option<Loss> {
    if let Some(why) = found["unknown"].as_str() {
        return Some(Loss::destroys(format!(
            "Upload a file over one of the same name, if there is one: that cannot be read ({why})."
        )));
    }
    let volume = found["volid"].as_str()?;
    Some(Loss::destroys(format!(
        "Upload over {}: what it holds now is lost.",
        text::inline(volume)
    )))
}

/// The file of this name that the storage holds, null where there is none.
fn find(client: &Client, args: &Args, name: &str) -> Result<Value, Error> {
    let content = &args[&CONTENT];
    let request = args
        .request(Get, CONTENT_REQUEST.path)
        .with("content", content);
    let rows = match client.send(&request) {
        Ok(data) => answer::rows(data),
        // A token may add files that it may not list.
        Err(error)
            if error
                .refusal()
                .is_some_and(|refusal| refusal.status() == 403) =>
        {
            return Ok(json!({ "unknown": error.brief() }));
        }
        Err(error) => return Err(error),
    };
    let end = format!(":{content}/{name}");
    let found = rows
        .into_iter()
        .find(|row| plain(&row["volid"]).ends_with(&end));
    Ok(found.unwrap_or_default())
}

/// Starts the task that puts a file on a storage.
fn arriving(
    client: &Client,
    args: &Args,
    request: &Request,
    what: &str,
    name: &str,
    given: &str,
) -> Result<Answer, Error> {
    let answer = start_task(client, request, Reply::Task, what)?;
    let mut answer = answer.with("volume", volume_id(args, name));
    if name != given {
        answer = answer.line("Its name has changed: Proxmox takes letters, digits, . _ and -.");
    }
    // That it does not match is seen at the end of the task alone.
    let has_checksum = args.get(&CHECKSUM).is_some();
    answer.waits = has_checksum && args.get(&WAIT) != Some("0");
    if has_checksum && !answer.waits {
        answer = answer.line("The end of the task shows whether the checksum fits.");
    }
    Ok(answer)
}

fn volume_id(args: &Args, name: &str) -> String {
    format!("{}:{}/{name}", &args[&STORAGE], &args[&CONTENT])
}

fn file_name(path: &str) -> &str {
    path.rsplit(['/', '\\']).next().unwrap_or_default()
}

/// The name that a file gets on a storage (`normalize_content_filename` in `PVE/Storage.pm`), if files of
/// this kind may end so.
fn stored_name(content: &str, given: &str) -> Result<String, Error> {
    let endings: &[&str] = match content {
        "iso" => &["iso", "img"],
        "vztmpl" => &["tar", "tar.gz", "tar.xz", "tar.zst", "tar.bz2"],
        _ => &["ova", "ovf", "qcow2", "raw", "vmdk"],
    };
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "_.-".contains(c);
    let name = file_name(given);
    let name = name.replace(|c: char| !is_plain(c), "_");
    let lower = name.to_ascii_lowercase();
    let ends = |ending: &&str| {
        let stem = lower.strip_suffix(*ending).unwrap_or_default();
        stem.len() > 1 && stem.ends_with('.')
    };
    match endings.iter().any(ends) {
        true => Ok(name),
        false => Err(Error::arguments(vec![format!(
            "filename of {content} must end in .{}",
            endings.join(", .")
        )])),
    }
}

/// The algorithm and the checksum, if one is given.
fn checksum(args: &Args) -> Result<Option<(&'static str, &str)>, Error> {
    /// Their names and how many digits they have.
    const ALGORITHMS: &[(&str, usize)] = &[
        ("md5", 32),
        ("sha1", 40),
        ("sha224", 56),
        ("sha256", 64),
        ("sha384", 96),
        ("sha512", 128),
    ];
    let Some(checksum) = args.get(&CHECKSUM) else {
        return match args.get(&ALGORITHM) {
            None => Ok(None),
            Some(_) => Err(Error::arguments(vec![
                "checksum is missing: checksum_algorithm needs it".to_owned(),
            ])),
        };
    };
    let given = args.get(&ALGORITHM);
    let fits = |(name, digits): &&(&str, usize)| {
        *digits == checksum.len() && given.is_none_or(|given| given == *name)
    };
    match ALGORITHMS.iter().find(fits) {
        Some((name, _)) => Ok(Some((name, checksum))),
        None => Err(Error::arguments(vec![format!(
            "checksum has {} digits, which fits {}",
            checksum.len(),
            given.map_or_else(|| "no algorithm".to_owned(), |name| format!("no {name}"))
        )])),
    }
}

/// pveproxy reads the algorithm of an upload before the checksum alone.
fn with_checksum(request: Request, checksum: Option<(&str, &str)>) -> Request {
    match checksum {
        None => request,
        Some((algorithm, checksum)) => request
            .with("checksum-algorithm", algorithm)
            .with("checksum", checksum),
    }
}

const URL: Param = Param::required("url", Kind::Format(&format::URL), "");
const VERIFY: Param = Param::optional("verify_certificates", Kind::Flag, "")
    .default("true")
    .sent_as("verify-certificates");
const COMPRESSION: Param = Param::optional(
    "compression",
    Kind::Choice(&["gz", "lzo", "zst", "bz2"]),
    "Decompresses it.",
)
.known_to(Versions::since(8));
const DOWNLOADED: Param = Param::optional("filename", Kind::Text(1, 255), "As served if absent.");

pub(super) static DOWNLOAD: Tool = Tool {
    title: "Download from URL",
    summary: "Lets a node fetch an ISO image, template or disk image from a URL to a storage.",
    permission: Permission::Elevated,
    effect: Effect::Adds,
    params: &[
        &NODE,
        &STORAGE,
        &URL,
        &CONTENT,
        &DOWNLOADED,
        &CHECKSUM,
        &ALGORITHM,
        &VERIFY,
        &COMPRESSION,
        &WAIT,
        &WAIT_TIMEOUT,
    ],
    call: Call::Steps(
        &[
            Step::read("/nodes/{node}/query-url-metadata", &[NETWORK]),
            CONTENT_REQUEST.dispensable(),
            Step::change(
                Post,
                "/nodes/{node}/storage/{storage}/download-url",
                &[TEMPLATES, NETWORK],
                Touches::NoGuest,
                Harm::None,
            ),
        ],
        download,
    ),
};

fn download(client: &Client, args: &Args) -> Result<Answer, Error> {
    require(client, args, &[&CONTENT, &COMPRESSION])?;
    let checksum = checksum(args)?;
    let request = args
        .request(Get, "/nodes/{node}/query-url-metadata")
        .with("url", &args[&URL]);
    let served = match client.send(&args.send_given(request, &[&VERIFY])) {
        Ok(served) => served,
        // The server says nothing of a file, which it may send all the same.
        Err(error)
            if ["405", "501"]
                .iter()
                .any(|status| error.says(&format!("invalid server response: '{status}"))) =>
        {
            Value::Null
        }
        Err(error) => return Err(error),
    };
    let given = match args.get(&DOWNLOADED).or(served["filename"].as_str()) {
        Some(given) => given.to_owned(),
        None => {
            return Err(Error::arguments(vec![
                "filename is missing: the server names no file".to_owned(),
            ]));
        }
    };
    let name = stored_name(&args[&CONTENT], &given)?;
    let found = find(client, args, &name)?;
    if let Some(volume) = found["volid"].as_str() {
        return Err(Error::impossible(
            format!(
                "{} exists already, nothing was downloaded",
                text::inline(volume)
            ),
            "Proxmox replaces no file by a download: give another filename, or use the file that is there.",
        ));
    }
    let request = args
        .request(Post, "/nodes/{node}/storage/{storage}/download-url")
        .with("content", &args[&CONTENT])
        .with("filename", &*name)
        .with("url", &args[&URL]);
    let request = with_checksum(request, checksum);
    let request = args.send_given(request, &[&VERIFY, &COMPRESSION]);
    let size = number(&served["size"]).map(|size| format!(" ({})", text::bytes(size)));
    let what = format!(
        "Download {}{}",
        volume_id(args, &name),
        size.unwrap_or_default()
    );
    arriving(client, args, &request, &what, &name, &given)
}

const TEMPLATE: Param = Param::optional(
    "template",
    Kind::Text(1, 255),
    "As proxmox_get_node_aplinfo lists it.",
)
.required_unless(&["reference"]);
const REFERENCE: Param = Param::optional(
    "reference",
    Kind::Text(1, 512),
    "OCI image name:tag; without the tag its tags are listed.",
)
.known_to(Versions::since(9));
const IMAGE_NAME: Param = Param::optional(
    "filename",
    Kind::Text(1, 255),
    "Name of the OCI image on the storage.",
);

pub(super) static DOWNLOAD_TEMPLATE: Tool = Tool {
    title: "Download template",
    summary: "Downloads a container template from the index of Proxmox, or an OCI image from a registry.",
    permission: Permission::Elevated,
    effect: Effect::Adds,
    params: &[
        &NODE,
        &STORAGE,
        &TEMPLATE,
        &REFERENCE,
        &IMAGE_NAME,
        &WAIT,
        &WAIT_TIMEOUT,
    ],
    call: Call::Steps(
        &[
            Step::change(
                Post,
                "/nodes/{node}/aplinfo",
                &[TEMPLATES],
                Touches::NoGuest,
                Harm::None,
            ),
            Step::read(
                "/nodes/{node}/query-oci-repo-tags",
                &["/nodes/{node}:Sys.AccessNetwork"],
            )
            .dispensable()
            .known_to(Versions::since(9)),
            Step::change(
                Post,
                "/nodes/{node}/storage/{storage}/oci-registry-pull",
                &[TEMPLATES, "/nodes/{node}:Sys.AccessNetwork"],
                Touches::NoGuest,
                Harm::None,
            )
            .dispensable()
            .known_to(Versions::since(9)),
        ],
        download_template,
    ),
};

fn download_template(client: &Client, args: &Args) -> Result<Answer, Error> {
    let storage = &args[&STORAGE];
    match (args.get(&TEMPLATE), args.get(&REFERENCE)) {
        (Some(_), Some(_)) => Err(Error::arguments(vec![
            "template and reference do not go together".to_owned(),
        ])),
        (Some(_), None) if args.get(&IMAGE_NAME).is_some() => Err(Error::arguments(vec![
            "filename does not go with template: it keeps its name".to_owned(),
        ])),
        (Some(template), None) => {
            let request = args.request(Post, "/nodes/{node}/aplinfo");
            let request = args.send_given(request, &[&STORAGE, &TEMPLATE]);
            let volume = format!("{storage}:vztmpl/{template}");
            let what = format!("Download {}", text::inline(&volume));
            let answer = start_task(client, &request, Reply::Task, &what)?;
            Ok(answer.with("volume", volume))
        }
        (None, reference) => {
            require(client, args, &[&REFERENCE])?;
            let reference = reference.unwrap_or_default();
            if !file_name(reference).contains(':') {
                return tags(client, args);
            }
            let request = args.request(Post, "/nodes/{node}/storage/{storage}/oci-registry-pull");
            let request = args.send_given(request, &[&REFERENCE, &IMAGE_NAME]);
            let what = format!("Pull {} to {storage}", text::inline(reference));
            start_task(client, &request, Reply::Task, &what)
        }
    }
}

/// The tags of an OCI image.
fn tags(client: &Client, args: &Args) -> Result<Answer, Error> {
    static TAGS: Table = Table {
        name: "tags",
        noun: ["tag", "tags"],
        columns: &[Column::text("tag")],
        sort: &[Order::Up("tag")],
        count: None,
    };
    let request = args.request(Get, "/nodes/{node}/query-oci-repo-tags");
    let tags = client.send(&args.send_given(request, &[&REFERENCE]))?;
    let tags = tags.as_array().into_iter().flatten();
    let rows = tags.map(|tag| json!({ "tag": tag })).collect();
    let note = "Nothing was downloaded: add one of them to reference, such as name:tag.";
    Ok(TAGS.answer(rows, args, &[note.to_owned()]))
}

const BACKUP: Param = Param::required(
    "volume",
    Kind::Format(&format::VOLUME_OR_NAME),
    "volid of a backup on a PBS storage.",
);
const INSIDE: Param =
    Param::optional("path", Kind::Text(1, 4_096), "As listed; / is the top.").default("/");

pub(super) static LIST_FILES: Tool = Tool {
    title: "List files in backup",
    summary: "Lists the files in a directory of a backup on a Proxmox Backup Server; / lists its archives.",
    permission: Permission::Basic,
    effect: Effect::Reads,
    params: &[&NODE, &STORAGE, &BACKUP, &INSIDE, &LIMIT, &OFFSET],
    call: Call::Steps(
        &[Step::read(
            "/nodes/{node}/storage/{storage}/file-restore/list",
            &[needs::SPACE, needs::BACKUP],
        )],
        list_files,
    ),
};

fn list_files(client: &Client, args: &Args) -> Result<Answer, Error> {
    static FILES: Table = Table {
        name: "files",
        noun: ["entry", "entries"],
        columns: &[
            Column::text("path"),
            Column::text("type"),
            Column::bytes("size"),
            Column::time("mtime"),
        ],
        sort: &[Order::Up("type"), Order::Up("path")],
        count: None,
    };
    let request = args
        .request(Get, "/nodes/{node}/storage/{storage}/file-restore/list")
        .with("volume", &args[&BACKUP])
        .with("filepath", path_sent(&args[&INSIDE]));
    let mut rows = answer::rows(client.send(&request)?);
    for row in &mut rows {
        row["path"] = path_shown(&plain(&row["filepath"])).into();
    }
    let note = "type: d directory, f file, l link, v archive or disk".to_owned();
    Ok(FILES.answer(rows, args, &[note]))
}

/// Marks a path that is not UTF-8 and so is shown as it is sent.
const ENCODED: &str = "base64:";

/// A path inside a backup as it is sent.
fn path_sent(path: &str) -> String {
    match (path, path.strip_prefix(ENCODED)) {
        ("/", _) => path.to_owned(),
        (_, Some(encoded)) => encoded.to_owned(),
        (_, None) => STANDARD.encode(path.as_bytes()),
    }
}

/// A path inside a backup as a person reads it.
fn path_shown(sent: &str) -> String {
    let decoded = STANDARD.decode(sent).map(String::from_utf8);
    match decoded {
        Some(Ok(path)) if text::is_visible(&path) => path,
        _ => format!("{ENCODED}{sent}"),
    }
}

const RESTORED: Param = Param::required("path", Kind::Text(1, 4_096), "As listed.");
const OUTPUT_PATH: Param = Param::required(
    "output_path",
    Kind::Text(1, 4_096),
    "New file on this machine, in PROXMOX_UPLOAD_DIRS.",
)
.local();
const TAR: Param = Param::optional("tar", Kind::Flag, "A directory as tar.zst, not zip.")
    .known_to(Versions::since(8));

pub(super) static RESTORE_FILE: Tool = Tool {
    title: "Restore file from backup",
    summary: "Saves a file or directory out of a backup on a Proxmox Backup Server as a new file on this machine.",
    permission: Permission::Elevated,
    effect: Effect::Adds,
    params: &[&NODE, &STORAGE, &BACKUP, &RESTORED, &OUTPUT_PATH, &TAR],
    call: Call::Steps(
        &[Step::change(
            Get,
            "/nodes/{node}/storage/{storage}/file-restore/download",
            &[needs::SPACE, needs::BACKUP],
            Touches::ReadsOwnerOf(&BACKUP),
            Harm::None,
        )],
        restore_file,
    ),
};

fn restore_file(client: &Client, args: &Args) -> Result<Answer, Error> {
    require(client, args, &[&TAR])?;
    let target = client.files().create(&args[&OUTPUT_PATH])?;
    let request = args
        .request(Get, "/nodes/{node}/storage/{storage}/file-restore/download")
        .with("volume", &args[&BACKUP])
        .with("filepath", path_sent(&args[&RESTORED]));
    let request = args.send_given(request, &[&TAR]).with_file(target.saved());
    let saved = client.change(&request, Reply::ObjectOrNothing("bytes"))?;
    let Some(bytes) = number(&saved["bytes"]) else {
        return Err(Error::impossible(
            "nothing was restored",
            "Proxmox answered without a file: the node probably lacks the tool for it (on the node: apt install proxmox-backup-file-restore). If it has it, proxmox_list_backup_files shows what is wrong with volume or path.",
        ));
    };
    let what = format!("Restore {}", text::inline(&args[&RESTORED]));
    let path = target.keep();
    Ok(
        Answer::action(&what, "done", &format!("{}.", text::bytes(bytes)))
            .line(format!("saved as: {path}"))
            .with("path", path)
            .with("bytes", saved["bytes"].clone()),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_get_the_names_that_proxmox_gives_them() {
        for (content, given, expected) in [
            ("iso", "debian-13.iso", Some("debian-13.iso")),
            ("iso", "T15.ISO", Some("T15.ISO")),
            ("iso", "/tmp/x/../t14.iso", Some("t14.iso")),
            (
                "iso",
                "C:\\images\\win 11 (x64)+ü.iso",
                Some("win_11__x64___.iso"),
            ),
            ("iso", "a\"\r\n; name=b.iso", Some("a_____name_b.iso")),
            ("vztmpl", "a.tar.zst", Some("a.tar.zst")),
            ("import", "disk.qcow2", Some("disk.qcow2")),
            ("iso", "t8.txt", None),
            ("iso", ".iso", None),
            ("iso", "iso", None),
            ("vztmpl", "a.zst", None),
            ("import", "a.iso", None),
        ] {
            let name = stored_name(content, given).ok();
            assert_eq!(name.as_deref(), expected, "{given}");
        }
    }

    #[test]
    fn a_path_that_is_not_text_comes_back_as_it_was_listed() {
        for (shown, sent) in [
            ("/", "/"),
            ("/root.pxar.didx/etc", "L3Jvb3QucHhhci5kaWR4L2V0Yw=="),
            ("base64:L/8=", "L/8="),
        ] {
            assert_eq!(path_sent(shown), sent);
        }
        assert_eq!(
            path_shown("L3Jvb3QucHhhci5kaWR4L2V0Yw=="),
            "/root.pxar.didx/etc"
        );
        assert_eq!(path_shown("L/8="), "base64:L/8=");
        assert_eq!(path_shown("no base64"), "base64:no base64");
    }
}
