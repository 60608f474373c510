//! The command line's side of the agent's socket.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use http_body_util::{BodyExt as _, Empty};
use hyper::{
    Method, Request, Response, StatusCode,
    body::{Bytes, Incoming},
    client::conn::http1,
};
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use tokio::{net::UnixStream, runtime::Runtime};

use super::failure::Failure;
use crate::{
    admin::{SOCKET, api::Refusal},
    args::{AgentAt, RUN_DIR},
};

/// A way to the agent.
#[derive(Debug)]
pub struct Client {
    runtime: Runtime,
    socket: PathBuf,
}

impl Client {
    /// The agent that the flags mean.
    ///
    /// # Errors
    ///
    /// No agent's socket can be found.
    pub fn new(at: &AgentAt) -> Result<Self, Failure> {
        let socket = find_socket(at.run_dir.as_deref(), Path::new(RUN_DIR))?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        Ok(Self { runtime, socket })
    }

    /// Asks for a value.
    ///
    /// # Errors
    ///
    /// The agent does not answer, or refuses.
    pub fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, Failure> {
        self.call(Method::GET, path)
    }

    /// Has something removed.
    ///
    /// # Errors
    ///
    /// The agent does not answer, or refuses.
    pub fn delete<T: DeserializeOwned>(&self, path: &str) -> Result<T, Failure> {
        self.call(Method::DELETE, path)
    }

    /// Asks for whatever the agent says, as it is.
    ///
    /// # Errors
    ///
    /// The agent does not answer, or refuses.
    pub fn bytes(&self, path: &str) -> Result<Vec<u8>, Failure> {
        self.runtime.block_on(async {
            let body = self.request(Method::GET, path).await?.into_body();
            let body = body.collect().await;
            let body = body.map_err(|error| self.broken(&error.to_string()))?;
            Ok(body.to_bytes().to_vec())
        })
    }

    fn call<T: DeserializeOwned>(&self, method: Method, path: &str) -> Result<T, Failure> {
        self.runtime.block_on(async {
            let body = self.request(method, path).await?.into_body();
            let bytes = body.collect().await.map_err(|error| self.broken(&error.to_string()))?.to_bytes();
            serde_json::from_slice(&bytes).map_err(|error| {
                self.broken(&error.to_string())
                    .help("is the agent of another version? `ringfence version` and `ringfence status -o json` tell")
            })
        })
    }

    /// Asks for lines and gives each to `line`, until there are no more.
    ///
    /// # Errors
    ///
    /// The agent does not answer, refuses or goes away; or `line` fails.
    pub fn lines(
        &self,
        path: &str,
        mut line: impl FnMut(&[u8]) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        self.runtime.block_on(async {
            let mut body = self.request(Method::GET, path).await?.into_body();
            let mut rest: Vec<u8> = Vec::new();
            while let Some(frame) = body.frame().await {
                let frame = frame.map_err(|error| {
                    self.broken(&error.to_string())
                        .help("has the agent stopped?")
                })?;
                if let Ok(data) = frame.into_data() {
                    rest.extend_from_slice(&data);
                    while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
                        let whole: Vec<u8> = rest.drain(..=end).collect();
                        line(&whole[..end])?;
                    }
                }
            }
            Ok(())
        })
    }

    async fn request(&self, method: Method, path: &str) -> Result<Response<Incoming>, Failure> {
        let stream = UnixStream::connect(&self.socket)
            .await
            .map_err(|error| no_answer(&self.socket, &error))?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|error| self.broken(&error.to_string()))?;
        tokio::spawn(async move {
            // What breaks here is seen by whoever waits for the answer.
            let _: Result<(), hyper::Error> = connection.await;
        });
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(hyper::header::HOST, "ringfence")
            .body(Empty::<Bytes>::new())
            .map_err(|error| Failure::new(format!("cannot ask for {path}: {error}")))?;
        let response = sender
            .send_request(request)
            .await
            .map_err(|error| self.broken(&error.to_string()))?;
        if response.status() == StatusCode::OK {
            return Ok(response);
        }
        let status = response.status();
        let text = response
            .into_body()
            .collect()
            .await
            .map(|body| body.to_bytes())
            .unwrap_or_default();
        let what = serde_json::from_slice(&text)
            .map(|refusal: Refusal| refusal.error)
            .unwrap_or_else(|_not_ours| {
                format!("{status}: {}", String::from_utf8_lossy(&text).trim())
            });
        Err(Failure::new(format!("the agent refuses: {what}"))
            .at(self.socket.display().to_string()))
    }

    fn broken(&self, what: &str) -> Failure {
        Failure::new(format!("the agent's answer cannot be read: {what}"))
            .at(self.socket.display().to_string())
    }
}

fn no_answer(socket: &Path, error: &io::Error) -> Failure {
    let place = socket.display().to_string();
    match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => Failure::new(
            "no agent runs here",
        )
        .at(place)
        .help(
            "start `ringfence agent` or `ringfence lab up`, or name its directory with --run-dir",
        ),
        io::ErrorKind::PermissionDenied => Failure::new("the agent's socket is for root")
            .at(place)
            .help("try again with sudo"),
        _ => Failure::new(format!("cannot reach the agent: {error}")).at(place),
    }
}

/// The socket in the directory that was named; else in the usual one; else of the one lab that runs.
fn find_socket(named: Option<&Path>, usual: &Path) -> Result<PathBuf, Failure> {
    if let Some(named) = named {
        return Ok(named.join(SOCKET));
    }
    let socket = usual.join(SOCKET);
    if answers(&socket) {
        return Ok(socket);
    }
    let labs: Vec<PathBuf> = fs::read_dir(usual.join("lab"))
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path().join(SOCKET))
        .filter(|socket| answers(socket))
        .collect();
    match labs.as_slice() {
        [] => Ok(socket),
        [lab] => {
            let directory = lab.parent().unwrap_or(lab);
            say!("using the lab in {}", directory.display());
            Ok(lab.clone())
        }
        several => {
            let failure = Failure::new("several labs run, and no agent outside of them");
            let failure = several
                .iter()
                .filter_map(|lab| lab.parent())
                .fold(failure, |failure, directory| {
                    failure.at(format!("--run-dir {}", directory.display()))
                });
            Err(failure.help("choose one of these"))
        }
    }
}

/// True if somebody serves this socket (or only others than we may ask).
fn answers(socket: &Path) -> bool {
    match std::os::unix::net::UnixStream::connect(socket) {
        Ok(_) => true,
        Err(error) => error.kind() == io::ErrorKind::PermissionDenied,
    }
}

/// A query string of these pairs, those without a value left out.
#[must_use]
pub fn query(path: &str, pairs: &[(&str, Option<String>)]) -> String {
    let mut text = path.to_owned();
    let mut separator = '?';
    for (name, value) in pairs {
        if let Some(value) = value {
            text.push(separator);
            text.push_str(name);
            text.push('=');
            for byte in value.bytes() {
                if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~') {
                    text.push(char::from(byte));
                } else {
                    text.push_str(&format!("%{byte:02X}"));
                }
            }
            separator = '&';
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use super::*;

    #[test]
    fn a_lab_is_used_if_it_is_the_only_agent() {
        let root = tempfile::tempdir().unwrap();
        let usual = root.path();
        let lab = |name: &str| {
            let directory = usual.join("lab").join(name);
            fs::create_dir_all(&directory).unwrap();
            (
                UnixListener::bind(directory.join(SOCKET)).unwrap(),
                directory.join(SOCKET),
            )
        };
        assert_eq!(find_socket(None, usual).unwrap(), usual.join(SOCKET));

        let (_one, path) = lab("one");
        let (dead, _) = lab("dead");
        drop(dead);
        assert_eq!(find_socket(None, usual).unwrap(), path);

        let (_two, _) = lab("two");
        let text = find_socket(None, usual).unwrap_err().to_string();
        assert!(
            text.contains("several labs run")
                && text.contains("lab/one")
                && text.contains("lab/two"),
            "{text}"
        );

        let _agent = UnixListener::bind(usual.join(SOCKET)).unwrap();
        assert_eq!(find_socket(None, usual).unwrap(), usual.join(SOCKET));
        assert_eq!(
            find_socket(Some(Path::new("/x")), usual).unwrap(),
            Path::new("/x/agent.sock")
        );
    }

    #[test]
    fn values_are_escaped() {
        let pairs = [
            ("from", Some("a/b c".to_owned())),
            ("to", None),
            ("port", Some("1".to_owned())),
        ];
        assert_eq!(
            query("/v1/events", &pairs),
            "/v1/events?from=a%2Fb%20c&port=1"
        );
    }
}
