//! How many files the agent may have open. Each device, cgroup, map and connection is one; what a login shell or an old
//! container runtime grants is little, what may be asked for is much.

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// Takes as many as this process may have.
pub fn raise() {
    let raised = getrlimit(Resource::RLIMIT_NOFILE).and_then(|(soft, hard)| {
        if soft < hard {
            setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?;
        }
        Ok((soft, hard))
    });
    match raised {
        Ok((before, now)) => tracing::debug!(before, now, "open files"),
        Err(error) => tracing::warn!("cannot raise the limit of open files: {error}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_be_had_is_taken() {
        let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
        setrlimit(Resource::RLIMIT_NOFILE, hard - 1, hard).unwrap();
        raise();
        assert_eq!(getrlimit(Resource::RLIMIT_NOFILE).unwrap(), (hard, hard));
    }
}
