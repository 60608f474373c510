//! `deploy/systemd`: the unit is one, and starts what this binary understands.

use std::{collections::BTreeMap, fs, io::Write as _, path::PathBuf, process::Command};

use clap::Parser as _;
use ringfence_agent::args::{Args, MetadataVerb, Verb};

/// Values of keys, by section; a key may be there more than once.
type Unit = BTreeMap<String, BTreeMap<String, Vec<String>>>;

/// Keys that the unit may have; every other one is a mistake until it is written here.
const KEYS: [(&str, &[&str]); 3] = [
    (
        "Unit",
        &[
            "Description",
            "Documentation",
            "Before",
            "After",
            "ConditionPathIsMountPoint",
        ],
    ),
    (
        "Service",
        &[
            "AmbientCapabilities",
            "CapabilityBoundingSet",
            "ExecStart",
            "LimitMEMLOCK",
            "LockPersonality",
            "MemoryDenyWriteExecute",
            "NoNewPrivileges",
            "NotifyAccess",
            "PrivateDevices",
            "PrivateTmp",
            "ProtectClock",
            "ProtectHome",
            "ProtectHostname",
            "ProtectKernelLogs",
            "ProtectKernelModules",
            "ProtectProc",
            "ProtectSystem",
            "RemainAfterExit",
            "Restart",
            "RestartSec",
            "RestrictAddressFamilies",
            "RestrictNamespaces",
            "RestrictRealtime",
            "RestrictSUIDSGID",
            "RuntimeDirectory",
            "RuntimeDirectoryMode",
            "RuntimeDirectoryPreserve",
            "SystemCallArchitectures",
            "SystemCallErrorNumber",
            "SystemCallFilter",
            "TimeoutStartSec",
            "Type",
            "UMask",
        ],
    ),
    ("Install", &["WantedBy"]),
];

fn path() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("../deploy/systemd/ringfence-metadata-guard.service")
}

fn read() -> (String, Unit) {
    let text = fs::read_to_string(path()).expect("the unit is there");
    let mut unit = Unit::new();
    let mut section = String::new();
    for line in text.lines().map(str::trim) {
        if line.is_empty() || line.starts_with(['#', ';']) {
            continue;
        }
        if let Some(name) = line
            .strip_prefix('[')
            .and_then(|line| line.strip_suffix(']'))
        {
            section = name.to_owned();
            continue;
        }
        let (key, value) = line.split_once('=').expect("key and value");
        let keys = unit.entry(section.clone()).or_default();
        let values = keys.entry(key.to_owned()).or_default();
        values.push(value.to_owned());
    }
    (text, unit)
}

fn one<'a>(unit: &'a Unit, section: &str, key: &str) -> &'a str {
    let values = &unit[section][key];
    assert_eq!(values.len(), 1, "{section}: {key}");
    &values[0]
}

#[test]
fn its_sections_and_keys_are_known_and_it_comes_before_the_kubelet() {
    let (_, unit) = read();
    assert_eq!(unit.len(), KEYS.len());
    for (section, known) in KEYS {
        for (key, values) in &unit[section] {
            assert!(known.contains(&key.as_str()), "[{section}] {key}");
            assert_eq!(values.len(), 1, "[{section}] {key}");
        }
    }
    let before = one(&unit, "Unit", "Before");
    assert!(before.split(' ').any(|other| other == "kubelet.service"));
    // A guard that says when it stands, and is there as long as it stands.
    assert_eq!(one(&unit, "Service", "Type"), "notify");
    assert_eq!(one(&unit, "Service", "RemainAfterExit"), "yes");
    let capabilities = one(&unit, "Service", "CapabilityBoundingSet");
    assert_eq!(capabilities, "CAP_BPF CAP_NET_ADMIN CAP_PERFMON");
}

#[test]
fn what_it_starts_is_a_verb_with_its_flags() {
    let (_, unit) = read();
    let start = one(&unit, "Service", "ExecStart");
    let words: Vec<&str> = start.split(' ').collect();
    assert!(words[0].starts_with('/') && words[0].ends_with("/ringfence"));
    let Verb::Metadata(MetadataVerb::Guard(args)) = Args::try_parse_from(words).unwrap().verb
    else {
        panic!("{start} is another verb");
    };
    assert!(args.watch, "only who stays tells the service manager");
    // The agent's lock is where the unit lets it be.
    let directory = format!("/run/{}", one(&unit, "Service", "RuntimeDirectory"));
    assert_eq!(args.run_dir, PathBuf::from(directory));
    let page = one(&unit, "Unit", "Documentation").strip_prefix("man:");
    let page = page.and_then(|page| page.strip_suffix("(1)")).unwrap();
    let man = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(format!("../docs/man/{page}.1"));
    assert!(man.exists(), "{}", man.display());
}

/// Where there is systemd, it is asked too.
#[test]
fn systemd_takes_it() {
    let (text, unit) = read();
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("ringfence-metadata-guard.service");
    // It looks whether the program is there.
    let program = one(&unit, "Service", "ExecStart")
        .split(' ')
        .next()
        .unwrap();
    let text = text.replace(program, env!("CARGO_BIN_EXE_ringfence"));
    fs::write(&file, text).unwrap();
    let Ok(output) = Command::new("systemd-analyze")
        .args(["verify", "--man=no"])
        .arg(&file)
        .output()
    else {
        // The other tests have read it.
        if let Some(path) = std::env::var_os("RINGFENCE_SKIPS") {
            let mut skips = fs::OpenOptions::new()
                .append(true)
                .create(true)
                .open(path)
                .unwrap();
            writeln!(skips, "unit_file: no systemd-analyze").unwrap();
        }
        return;
    };
    let said = String::from_utf8_lossy(&output.stderr);
    let ours = said.lines().filter(|line| line.contains("metadata-guard"));
    assert_eq!(ours.collect::<Vec<_>>(), Vec::<&str>::new(), "{said}");
}
