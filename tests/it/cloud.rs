//! From a cloud image on the internet to three running VMs with their addresses.

use serde_json::{Value, json};

use crate::fake::Fake;

/// Returns the exchange of a poll of a task that has succeeded.
fn ended(upid: &str) -> Value {
    let path = upid
        .replace(':', "%3A")
        .replace('@', "%40")
        .replace('!', "%21");
    json!({
        "request": format!("GET /nodes/pve1/tasks/{path}/status"),
        "answer": { "data": { "status": "stopped", "exitstatus": "OK" } },
    })
}

fn upid(kind: &str, id: &str, number: u32) -> String {
    format!("UPID:pve1:0012D{number:03X}:03BB26A5:6A5608A0:{kind}:{id}:root@pam!mcp:")
}

fn change(request: &str, form: &[&str], data: impl Into<Value>) -> Value {
    let data = data.into();
    json!({ "request": request, "form": form, "answer": { "data": data } })
}

fn read(request: &str, data: Value) -> Value {
    json!({ "request": request, "answer": { "data": data } })
}

#[test]
fn six_calls_lead_from_a_cloud_image_to_three_running_vms_with_addresses() {
    const IMAGE: &str = "https://cloud.example.com/debian.qcow2";
    let fake = Fake::start();
    let mut session = fake.connect(&[
        ("PROXMOX_ALLOW_ELEVATED", "true"),
        ("PROXMOX_TOOLSETS", "default,storage,migration"),
    ]);
    let download = upid("download", "debian.qcow2", 1);
    let (create, resize) = (upid("qmcreate", "9000", 2), upid("resize", "9000", 3));
    let mut exchanges = vec![
        read(
            "GET /version",
            json!({ "release": "9.2", "version": "9.2.11" }),
        ),
        json!({
            "request": "GET /nodes/pve1/query-url-metadata",
            "form": [format!("url={IMAGE}"), "verify-certificates=1"],
            "answer": { "data": { "filename": "debian.qcow2", "mimetype": "application/octet-stream", "size": 5000 } },
        }),
        json!({
            "request": "GET /nodes/pve1/storage/local/content",
            "form": ["content=import"],
            "answer": { "data": [] },
        }),
        change(
            "POST /nodes/pve1/storage/local/download-url",
            &[
                "content=import",
                "filename=debian.qcow2",
                &format!("url={IMAGE}"),
                "verify-certificates=1",
            ],
            download.clone(),
        ),
        ended(&download),
        change(
            "POST /nodes/pve1/qemu",
            &[
                "vmid=9000",
                "name=debian",
                "memory=1024",
                "cores=1",
                "sockets=1",
                "ostype=l26",
                "agent=1",
                "scsihw=virtio-scsi-single",
                "scsi0=local:0,import-from=local:import/debian.qcow2",
                "net0=virtio,bridge=vmbr0",
                "serial0=socket",
                "vga=serial0",
                "ide2=local:cloudinit",
                "ciuser=ada",
                "boot=order=scsi0;net0",
            ],
            create.clone(),
        ),
        ended(&create),
        change(
            "PUT /nodes/pve1/qemu/9000/resize",
            &["disk=scsi0", "size=20G"],
            resize.clone(),
        ),
        ended(&resize),
    ];
    let original = json!({
        "name": "debian",
        "scsi0": "local:9000/vm-9000-disk-0.raw,size=20G",
        "ide2": "local:9000/vm-9000-cloudinit.qcow2,media=cdrom",
    });
    for number in 1..=3 {
        let id = 200 + number;
        let copy = upid("qmclone", "9000", 16 + number);
        let start = upid("qmstart", &id.to_string(), 32 + number);
        exchanges.extend([
            read("GET /nodes/pve1/qemu/9000/config", original.clone()),
            change(
                "POST /nodes/pve1/qemu/9000/clone",
                &[&format!("newid={id}"), &format!("name=web{number}")],
                copy.clone(),
            ),
            ended(&copy),
            change(
                &format!("PUT /nodes/pve1/qemu/{id}/config"),
                &[&format!("ipconfig0=ip=192.0.2.{number}/24,gw=192.0.2.254")],
                Value::Null,
            ),
            change(
                &format!("POST /nodes/pve1/qemu/{id}/status/start"),
                &[],
                start.clone(),
            ),
            ended(&start),
            read(
                &format!("GET /nodes/pve1/qemu/{id}/status/current"),
                json!({ "status": "running", "qmpstatus": "running", "vmid": id }),
            ),
        ]);
    }
    let guests = (201..=203).map(|id| {
        json!({ "vmid": id, "type": "qemu", "node": "pve1", "name": format!("web{}", id - 200), "status": "running" })
    });
    exchanges.push(json!({
        "request": "GET /cluster/resources",
        "form": ["type=vm"],
        "answer": { "data": guests.collect::<Vec<_>>() },
    }));
    for number in 1..=3 {
        let address = json!({ "ip-address": format!("192.0.2.{number}"), "ip-address-type": "ipv4", "prefix": 24 });
        exchanges.push(read(
            &format!(
                "GET /nodes/pve1/qemu/{}/agent/network-get-interfaces",
                200 + number
            ),
            json!({ "result": [{ "name": "eth0", "ip-addresses": [address] }] }),
        ));
    }
    fake.play(serde_json::from_value(exchanges.into()).expect("exchanges"));

    let mut calls = vec![
        (
            "proxmox_download_url",
            json!({ "node": "pve1", "storage": "local", "content": "import", "url": IMAGE, "wait": true }),
        ),
        (
            "proxmox_create_vm",
            json!({
                "node": "pve1", "vmid": 9000, "name": "debian", "memory": 1024, "agent": true, "serial": true, "storage": "local",
                "import_from": "local:import/debian.qcow2", "disk_size": "20G", "ciuser": "ada", "wait": true,
            }),
        ),
    ];
    for number in 1..=3 {
        calls.push((
            "proxmox_clone_vm",
            json!({
                "node": "pve1", "vmid": 9000, "newid": 200 + number, "name": format!("web{number}"), "start": true, "wait": true,
                "ipconfig0": format!("ip=192.0.2.{number}/24,gw=192.0.2.254"),
            }),
        ));
    }
    calls.push((
        "proxmox_get_guest_interfaces",
        json!({ "guests": ["201", "202", "203"] }),
    ));
    assert!(calls.len() <= 7);
    let mut said = String::new();
    for (tool, arguments) in calls {
        let result = session.call(tool, arguments);
        assert_ne!(result["isError"], true, "{result}");
        said = result["content"][0]["text"]
            .as_str()
            .expect("a text")
            .to_owned();
    }
    for address in ["192.0.2.1", "192.0.2.2", "192.0.2.3"] {
        assert!(said.contains(address), "{said}");
    }
    assert_eq!(fake.problems(), Vec::<String>::new());
}
