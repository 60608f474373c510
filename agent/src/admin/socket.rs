//! The agent's unix socket.

use std::{
    fs, io,
    os::unix::{fs::PermissionsExt as _, net::UnixStream},
    path::Path,
};

use anyhow::{Context as _, bail};
use tokio::net::UnixListener;

/// Binds `path` with mode 0600. What an agent that was killed left behind is replaced, and only that.
pub(super) fn bind(path: &Path) -> anyhow::Result<UnixListener> {
    match UnixStream::connect(path) {
        Ok(_) => bail!(
            "another agent answers on {}; stop it, or give this one another --run-dir",
            path.display()
        ),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        // A file that is no socket answers the same; it is not ours to remove.
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused && is_socket(path) => {
            fs::remove_file(path)
                .with_context(|| format!("cannot replace the stale socket {}", path.display()))?;
        }
        Err(error) => {
            return Err(error).with_context(|| format!("{} is in the way", path.display()));
        }
    }
    // Nobody can connect between the two calls: the directory is the agent's alone.
    let listener = UnixListener::bind(path)
        .with_context(|| format!("cannot make the socket {}", path.display()))?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o600))
        .with_context(|| format!("cannot close {} to others", path.display()))?;
    Ok(listener)
}

fn is_socket(path: &Path) -> bool {
    use std::os::unix::fs::FileTypeExt as _;
    fs::symlink_metadata(path).is_ok_and(|metadata| metadata.file_type().is_socket())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_a_socket_that_nobody_serves_is_replaced() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("agent.sock");

        let served = bind(&path).unwrap();
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o600
        );
        assert!(
            bind(&path)
                .unwrap_err()
                .to_string()
                .contains("another agent answers")
        );

        drop(served);
        assert!(path.exists(), "the file stays when its server ends");
        drop(bind(&path).unwrap());

        let file = directory.path().join("file");
        fs::write(&file, "precious").unwrap();
        assert!(bind(&file).unwrap_err().to_string().contains("in the way"));
        assert_eq!(fs::read_to_string(&file).unwrap(), "precious");
    }
}
