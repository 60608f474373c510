//! What the kernel and the container runtime tell in files.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::LazyLock,
};

use super::super::{CniFile, Mount, Privileges, Release, Seen};

/// The kernel's types.
pub(super) static BTF: LazyLock<PathBuf> = LazyLock::new(|| "/sys/kernel/btf/vmlinux".into());
/// Where kubelets put pods, below the root of all cgroups.
const PODS: [&str; 4] = [
    "kubepods.slice",
    "kubepods",
    "kubelet.slice/kubelet-kubepods.slice",
    "kubelet/kubepods",
];

fn read(path: &str) -> Seen<String> {
    fs::read_to_string(path).map_err(|error| format!("{path}: {error}"))
}

pub(super) fn release() -> Seen<Release> {
    let text = read("/proc/sys/kernel/osrelease")?;
    parse_release(text.trim()).ok_or_else(|| format!("{:?} has no two numbers", text.trim()))
}

fn parse_release(text: &str) -> Option<Release> {
    let mut numbers = text.split(|c: char| !c.is_ascii_digit());
    let number = (numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?);
    Some(Release {
        text: text.to_owned(),
        number,
    })
}

pub(super) fn jit() -> Option<bool> {
    let text = read("/proc/sys/net/core/bpf_jit_enable").ok()?;
    Some(text.trim() != "0")
}

/// The word in brackets is the mode.
pub(super) fn lockdown() -> Option<String> {
    let text = read("/sys/kernel/security/lockdown").ok()?;
    let (_, rest) = text.split_once('[')?;
    Some(rest.split_once(']')?.0.to_owned())
}

pub(super) fn privileges() -> Seen<Privileges> {
    let text = read("/proc/self/status")?;
    text.lines()
        .find_map(|line| line.strip_prefix("CapEff:"))
        .and_then(|bits| u64::from_str_radix(bits.trim(), 16).ok())
        .map(|capabilities| Privileges { capabilities })
        .ok_or_else(|| "/proc/self/status tells none".to_owned())
}

pub(super) fn mounts() -> Seen<Vec<Mount>> {
    Ok(read("/proc/self/mountinfo")?
        .lines()
        .filter_map(parse_mount)
        .collect())
}

/// `ID PARENT MAJOR:MINOR ROOT MOUNT-POINT OPTIONS [TAGS...] - TYPE SOURCE OPTIONS`
fn parse_mount(line: &str) -> Option<Mount> {
    let (mount, filesystem) = line.split_once(" - ")?;
    let point = mount.split(' ').nth(4)?;
    let mut filesystem = filesystem.split(' ');
    let kind = filesystem.next()?.to_owned();
    Some(Mount {
        // Blanks and the like are written in octal.
        point: point.replace("\\040", " ").into(),
        kind,
        options: filesystem.nth(1).unwrap_or_default().to_owned(),
    })
}

pub(super) fn pods_cgroup(mounts: &[Mount]) -> Option<PathBuf> {
    mounts
        .iter()
        .filter(|mount| mount.kind == "cgroup2")
        .flat_map(|mount| PODS.map(|below| mount.point.join(below)))
        .find(|path| path.is_dir())
}

/// Configurations of the container network: runtimes take the first that they can read.
pub(super) fn cni(directory: &Path) -> Seen<Vec<CniFile>> {
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(format!("{}: {error}", directory.display())),
    };
    let mut paths: Vec<PathBuf> = entries
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| {
            let extension = path.extension().and_then(|it| it.to_str());
            extension.is_some_and(|it| ["conf", "conflist", "json"].contains(&it))
        })
        .collect();
    paths.sort();
    Ok(paths.iter().map(|path| cni_file(path)).collect())
}

fn cni_file(path: &Path) -> CniFile {
    CniFile {
        name: path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned(),
        plugins: fs::read_to_string(path)
            .map_err(|error| error.to_string())
            .and_then(|text| plugins(&text)),
    }
}

/// Types of the plugins of a list, or of the one plugin of an old configuration.
fn plugins(text: &str) -> Seen<Vec<String>> {
    let value: serde_json::Value =
        serde_json::from_str(text).map_err(|error| format!("it is no JSON: {error}"))?;
    let kind = |value: &serde_json::Value| value["type"].as_str().map(str::to_owned);
    let types = match value["plugins"].as_array() {
        Some(list) => list.iter().map(kind).collect(),
        None => kind(&value).map(|one| vec![one]),
    };
    types.ok_or_else(|| "a plugin has no type".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases_begin_with_two_numbers() {
        for (text, number) in [
            ("6.18.2-arch1-1", Some((6, 18))),
            ("5.15.0-1051-aws", Some((5, 15))),
            ("6.6-rc1", Some((6, 6))),
            ("unknown", None),
        ] {
            assert_eq!(parse_release(text).map(|it| it.number), number, "{text}");
        }
    }

    #[test]
    fn configurations_are_read_in_the_runtimes_order() {
        let directory = tempfile::tempdir().unwrap();
        for (name, text) in [
            ("20-old.conf", r#"{"type": "bridge"}"#),
            (
                "10-list.conflist",
                r#"{"plugins": [{"type": "ptp"}, {"type": "portmap"}]}"#,
            ),
            ("30-broken.json", "{"),
            ("40-none.conf", "{}"),
            ("notes.txt", "no"),
        ] {
            fs::write(directory.path().join(name), text).unwrap();
        }
        let files = cni(directory.path()).unwrap();
        let names: Vec<&str> = files.iter().map(|file| file.name.as_str()).collect();
        assert_eq!(
            names,
            [
                "10-list.conflist",
                "20-old.conf",
                "30-broken.json",
                "40-none.conf"
            ]
        );
        assert_eq!(
            files[0].plugins,
            Ok(vec!["ptp".to_owned(), "portmap".to_owned()])
        );
        assert_eq!(files[1].plugins, Ok(vec!["bridge".to_owned()]));
        assert!(files[2].plugins.is_err() && files[3].plugins.is_err());
        assert_eq!(cni(&directory.path().join("absent")), Ok(Vec::new()));
    }

    #[test]
    fn this_machine_can_be_read() {
        release().unwrap();
        privileges().unwrap();
        let mounts = mounts().unwrap();
        assert!(mounts.iter().any(|mount| mount.point == Path::new("/")));
        let line = "41 31 0:38 / /a\\040b rw shared:9 - cgroup2 none rw,nsdelegate";
        let mount = parse_mount(line).unwrap();
        assert_eq!(
            (mount.kind.as_str(), mount.options.as_str()),
            ("cgroup2", "rw,nsdelegate")
        );
        assert_eq!(mount.point, Path::new("/a b"));
    }
}
