//! Refusals for missing privileges: the commands that grant what the call lacks, or none if none helps.

use serde_json::{Value, json};

use crate::fake::{Fake, auditor};

/// Returns the text of this call with a token of mcp@pve, on a host that plays these exchanges.
#[track_caller]
fn result_text(tool: &str, arguments: Value, exchanges: Value) -> String {
    let fake = Fake::playing(exchanges);
    let mut session = fake.connect(&[
        ("PROXMOX_ALLOW_ELEVATED", "true"),
        ("PROXMOX_USER", "mcp@pve"),
    ]);
    let result = session.call(tool, arguments);
    assert_eq!(fake.problems(), Vec::<String>::new());
    assert_eq!(result["isError"], true, "{result}");
    let text = result["content"][0]["text"].as_str().expect("a text");
    text.split_once("\n\nCause: ")
        .expect("a cause")
        .1
        .to_owned()
}

/// Returns a refusal in Proxmox's words.
fn refused(request: &str, form: Value, said: &str) -> Value {
    let answer = json!({ "data": null, "message": format!("{said}\n") });
    json!({ "request": request, "form": form, "status": 403, "answer": answer })
}

const SETTINGS: &str = "GET /nodes/pve1/qemu/100/pending";
const PERMISSIONS: &str = "GET /access/permissions";

/// A refused change of memory, and the answer to the question which privileges the token has.
fn resize(permissions: Value) -> Value {
    let said = "Permission check failed (/vms/100, VM.Config.Disk|VM.Config.CDROM|VM.Config.CPU|\
                VM.Config.Memory|VM.Config.Network|VM.Config.HWType|VM.Config.Options|\
                VM.Config.Cloudinit)";
    json!([
        { "request": SETTINGS, "answer": { "data": [{ "key": "memory", "value": "512" }] } },
        refused(
            "PUT /nodes/pve1/qemu/100/config",
            json!(["memory=1024"]),
            said,
        ),
        permissions,
    ])
}

#[test]
fn a_line_grants_token_and_user_what_the_request_needs_and_keeps_inherited_privileges() {
    let arguments = json!({ "node": "pve1", "vmid": 100, "memory": 1024 });
    let start = "pveum role add MCP-vms-100; pveum role modify MCP-vms-100 --append 1 --privs ";
    let owners = "pveum acl modify /vms/100 --users mcp@pve --tokens 'mcp@pve!mcp' --roles ";
    let user = json!({ "VM.Audit": 1, "VM.PowerMgmt": 1 });
    for (granted, privileges, roles, ends) in [
        (
            auditor(),
            "VM.Config.Memory",
            "PVEAuditor,MCP-vms-100",
            true,
        ),
        (
            json!({ "/vms": user }),
            "VM.Audit,VM.Config.Memory,VM.PowerMgmt",
            "MCP-vms-100",
            true,
        ),
        // An existing role is extended.
        (
            json!({ "/vms/100": user }),
            "VM.Config.Memory",
            "MCP-vms-100",
            false,
        ),
    ] {
        let permissions = json!({ "request": PERMISSIONS, "answer": { "data": granted } });
        let text = result_text("proxmox_resize_vm", arguments.clone(), resize(permissions));
        let (_, advice) = text.split_once('\n').expect("more than what Proxmox said");
        let ends = match ends {
            true => "\nIt ends all other privileges that mcp@pve inherits there (pveum acl list).",
            false => "",
        };
        assert_eq!(
            advice,
            format!(
                "Grant it on a node as root, to mcp@pve as well:\n{start}{privileges} && {owners}{roles}{ends}"
            )
        );
    }
}

#[test]
fn shows_only_the_refusal_if_nothing_more_can_be_read() {
    let arguments = json!({ "node": "pve1", "vmid": 100, "memory": 1024 });
    let failed = json!({ "request": PERMISSIONS, "status": 500, "reason": "got timeout" });
    let text = result_text("proxmox_resize_vm", arguments, resize(failed));
    let parts = [
        "Permission check failed (/vms/100, VM.Config.Disk|",
        "VM.Config.Memory && pveum acl modify /vms/100 ",
        "A role on a path replaces the inherited ones there: grant those, too",
    ];
    for part in parts {
        assert!(text.contains(part), "{part}: {text}");
    }
}

/// A refused creation, and the answer to the question whether its VMID is free.
fn create(next_id: Value) -> (Value, Value) {
    let arguments = json!({
        "node": "pve1", "vmid": 141, "hostname": "app01", "storage": "local", "password": "correct-horse",
        "ostemplate": "local:vztmpl/debian-13-standard_13.1-2_amd64.tar.zst", "start": true,
    });
    let form = json!([
        "rootfs=local:8",
        "vmid=141",
        "ostemplate=local:vztmpl/debian-13-standard_13.1-2_amd64.tar.zst",
        "hostname=app01",
        "memory=512",
        "unprivileged=1",
        "start=1",
        "password=correct-horse",
    ]);
    let exchanges = json!([
        refused("POST /nodes/pve1/lxc", form, "Permission check failed"),
        { "request": PERMISSIONS, "answer": { "data": auditor() } },
        next_id,
    ]);
    (arguments, exchanges)
}

#[test]
fn grants_everything_that_creating_a_guest_needs_on_its_vmid() {
    let free = json!({ "request": "GET /cluster/nextid", "form": ["vmid=141"], "answer": { "data": "141" } });
    let (arguments, exchanges) = create(free);
    let text = result_text("proxmox_create_lxc", arguments, exchanges);
    let parts = [
        "It needs VM.Allocate on /vms/141.\n",
        "--privs VM.Allocate,VM.Config.Disk,VM.Config.Memory,VM.Config.Network,VM.PowerMgmt && \
         pveum acl modify /vms/141 ",
        "--privs Datastore.AllocateSpace && pveum acl modify /storage/local ",
    ];
    for part in parts {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert_eq!(text.matches("pveum acl modify").count(), 2, "{text}");
    assert!(!text.contains("correct-horse"), "{text}");
}

#[test]
fn grants_nothing_on_a_guest_whose_vmid_is_taken() {
    let taken = json!({
        "request": "GET /cluster/nextid", "form": ["vmid=141"], "status": 400,
        "answer": {
            "data": null,
            "message": "Parameter verification failed.\n",
            "errors": { "vmid": "VM 141 already exists" },
        },
    });
    let (arguments, exchanges) = create(taken);
    let text = result_text("proxmox_create_lxc", arguments, exchanges);
    assert_eq!(
        text,
        "Permission check failed\nThere is a guest 141 already: proxmox_get_next_vmid names a free VMID."
    );
}

#[test]
fn has_no_command_for_what_no_role_allows() {
    let arguments =
        json!({ "node": "pve1", "vmid": 100, "type": "qemu", "set": { "startup": "order=1" } });
    for (said, advice) in [
        (
            "Permission check failed (changing feature flags for privileged container is only allowed for root@pam)",
            "\nProxmox reserves this for root@pam itself: no API token can do it, whatever its roles.",
        ),
        (
            "Permission check failed (user != root@pam)",
            "\nProxmox reserves this for root@pam itself: no API token can do it, whatever its roles.",
        ),
        ("Permission check failed (pool 'nopool' does not exist)", ""),
    ] {
        let exchanges = json!([refused(SETTINGS, json!([]), said)]);
        let text = result_text("proxmox_update_guest_config", arguments.clone(), exchanges);
        assert_eq!(text, format!("{said}{advice}"));
    }
}
