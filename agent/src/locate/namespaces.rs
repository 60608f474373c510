//! Finds a pod by the network namespace that holds its address, among those that CNI plugins leave in a directory.

use std::{
    collections::BTreeSet,
    fs,
    net::IpAddr,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use crate::model::Located;

/// The files in these directories, each namespace once.
pub(super) fn list(directories: &[PathBuf]) -> Vec<PathBuf> {
    let mut seen = BTreeSet::new();
    let mut files = Vec::new();
    for directory in directories {
        for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
            let path = entry.path();
            // `/var/run` is `/run` on most nodes.
            if let Ok(file) = fs::metadata(&path)
                && file.is_file()
                && seen.insert((file.dev(), file.ino()))
            {
                files.push(path);
            }
        }
    }
    files.sort();
    files
}

/// The one of these namespaces that holds an address of the pod now, on an interface that leads to this node.
pub(super) fn by_address(
    addresses: &[IpAddr],
    namespaces: &[(PathBuf, Located)],
) -> Result<Located, String> {
    let holders: Vec<&(PathBuf, Located)> = namespaces
        .iter()
        .filter(|(_, located)| {
            addresses
                .iter()
                .any(|address| located.addresses.contains(address))
        })
        .collect();
    match holders.as_slice() {
        [] => Err(format!(
            "none of {} network namespaces that lead here holds its address",
            namespaces.len()
        )),
        [(_, located)] => Ok(located.clone()),
        several => {
            let paths: Vec<String> = several
                .iter()
                .map(|(path, _)| Path::display(path).to_string())
                .collect();
            Err(format!(
                "several network namespaces hold its address ({})",
                paths.join(", ")
            ))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn namespace(name: &str, addresses: &[&str]) -> (PathBuf, Located) {
        let located = Located {
            ifindex: 7,
            interface: format!("veth-{name}"),
            hardware_address: None,
            addresses: addresses.iter().map(|it| it.parse().unwrap()).collect(),
        };
        (name.into(), located)
    }

    #[test]
    fn the_namespace_that_holds_the_address_is_the_pods() {
        let namespaces = [
            namespace("a", &["10.0.0.1", "fd00::1"]),
            namespace("b", &["10.0.0.2"]),
            namespace("c", &["10.0.0.2", "fe80::1"]),
        ];
        let find = |addresses: &[&str]| {
            let addresses: Vec<IpAddr> = addresses.iter().map(|it| it.parse().unwrap()).collect();
            by_address(&addresses, &namespaces).map(|located| located.interface)
        };
        assert_eq!(find(&["10.0.0.1"]), Ok("veth-a".to_owned()));
        assert_eq!(find(&["10.9.0.1", "fd00::1"]), Ok("veth-a".to_owned()));
        assert!(find(&["10.0.0.9"]).is_err_and(|reason| reason.contains("none of 3")));
        assert!(find(&["10.0.0.2"]).is_err_and(|reason| reason.contains("(b, c)")));
        assert!(find(&[]).is_err());
    }

    #[test]
    fn directories_that_are_one_and_ones_that_are_not_there_count_once_and_not_at_all() {
        let directory = tempfile::tempdir().unwrap();
        let one = directory.path().join("one");
        let two = directory.path().join("two");
        fs::create_dir(&one).unwrap();
        std::os::unix::fs::symlink(&one, &two).unwrap();
        fs::write(one.join("cni-1"), "").unwrap();
        fs::create_dir(one.join("not-a-file")).unwrap();
        let found = list(&[one.clone(), two, directory.path().join("none")]);
        assert_eq!(found, [one.join("cni-1")]);
    }
}
