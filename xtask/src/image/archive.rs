//! An image as an OCI layout in a tar archive, with the file beside it that older `docker load` asks for.
//!
//! **Invariant.** The bytes depend on name, architecture, version and files only: no date, no owner, no order of a
//! directory is taken from this machine.

use std::{collections::BTreeMap, io::Write as _, path::Path};

use anyhow::Result;
use flate2::{Compression, GzBuilder};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tar::{Builder, EntryType, Header};

use super::Name;

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";

/// What goes into an image.
pub struct Image<'a> {
    /// Its name.
    pub name: &'a Name,
    /// The architecture, as images name it.
    pub architecture: &'a str,
    /// The version that a label tells.
    pub version: &'a str,
    /// Absolute paths and contents of executables; the first is the entry point.
    pub files: &'a [(&'a str, &'a [u8])],
}

/// Contents by the path that their digest gives them.
#[derive(Default)]
struct Blobs(BTreeMap<String, Vec<u8>>);

impl Blobs {
    /// Keeps a blob and returns its descriptor.
    fn put(&mut self, media_type: &str, bytes: Vec<u8>) -> Value {
        let hex = hex(&bytes);
        let descriptor = json!({
            "mediaType": media_type,
            "digest": format!("sha256:{hex}"),
            "size": bytes.len(),
        });
        self.0.insert(format!("blobs/sha256/{hex}"), bytes);
        descriptor
    }
}

impl Image<'_> {
    /// The archive, and the digest of the image's manifest.
    pub fn write(&self) -> Result<(Vec<u8>, String)> {
        let layer = self.layer()?;
        // Images are told apart by their layers' contents, however these are compressed.
        let diff_id = format!("sha256:{}", hex(&layer));
        let mut gzip = GzBuilder::new().write(Vec::new(), Compression::new(6));
        gzip.write_all(&layer)?;

        let mut blobs = Blobs::default();
        let layer = blobs.put(LAYER, gzip.finish()?);
        let config = blobs.put(CONFIG, serde_json::to_vec(&self.config(&diff_id))?);
        let docker = json!([{
            "Config": blob(&config),
            "RepoTags": [self.name.to_string()],
            "Layers": [blob(&layer)],
        }]);
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": config,
            "layers": [layer],
        });
        let mut manifest = blobs.put(MANIFEST, serde_json::to_vec(&manifest)?);
        let digest = manifest["digest"].as_str().unwrap_or_default().to_owned();
        manifest["platform"] = json!({"architecture": self.architecture, "os": "linux"});
        manifest["annotations"] = json!({
            "io.containerd.image.name": self.name.full(),
            "org.opencontainers.image.ref.name": self.name.tag(),
        });
        let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": [manifest]});

        let mut archive = Builder::new(Vec::new());
        put_file(
            &mut archive,
            "oci-layout",
            br#"{"imageLayoutVersion":"1.0.0"}"#,
            0o644,
        )?;
        put_file(
            &mut archive,
            "index.json",
            &serde_json::to_vec(&index)?,
            0o644,
        )?;
        put_file(
            &mut archive,
            "manifest.json",
            &serde_json::to_vec(&docker)?,
            0o644,
        )?;
        put_directory(&mut archive, "blobs/")?;
        put_directory(&mut archive, "blobs/sha256/")?;
        for (path, bytes) in &blobs.0 {
            put_file(&mut archive, path, bytes, 0o644)?;
        }
        Ok((archive.into_inner()?, digest))
    }

    /// The file system, uncompressed.
    fn layer(&self) -> Result<Vec<u8>> {
        let mut layer = Builder::new(Vec::new());
        let mut made: Vec<&Path> = vec![Path::new("")];
        for (path, bytes) in self.files {
            let path = Path::new(path.trim_start_matches('/'));
            let mut parents: Vec<&Path> = path.ancestors().skip(1).collect();
            parents.reverse();
            for parent in parents {
                if !made.contains(&parent) {
                    put_directory(&mut layer, &format!("{}/", parent.display()))?;
                    made.push(parent);
                }
            }
            put_file(&mut layer, &path.display().to_string(), bytes, 0o755)?;
        }
        Ok(layer.into_inner()?)
    }

    fn config(&self, diff_id: &str) -> Value {
        let entry_point = self.files.first().map(|(path, _)| *path);
        json!({
            "created": "1970-01-01T00:00:00Z",
            "architecture": self.architecture,
            "os": "linux",
            "config": {
                "Entrypoint": [entry_point],
                "Cmd": ["agent"],
                "Env": ["PATH=/usr/bin"],
                "WorkingDir": "/",
                "Labels": {
                    "org.opencontainers.image.title": "Ringfence",
                    "org.opencontainers.image.version": self.version,
                    "org.opencontainers.image.licenses": "Apache-2.0 OR MIT",
                },
            },
            "rootfs": {"type": "layers", "diff_ids": [diff_id]},
            "history": [{"created": "1970-01-01T00:00:00Z", "created_by": "cargo xtask image"}],
        })
    }
}

/// The path of what a descriptor describes.
fn blob(descriptor: &Value) -> String {
    let digest = descriptor["digest"].as_str().unwrap_or_default();
    format!("blobs/{}", digest.replace(':', "/"))
}

fn hex(bytes: &[u8]) -> String {
    Sha256::digest(bytes)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

fn header(kind: EntryType, size: usize, mode: u32) -> Header {
    let mut header = Header::new_ustar();
    header.set_entry_type(kind);
    header.set_size(size as u64);
    header.set_mode(mode);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header
}

fn put_file(archive: &mut Builder<Vec<u8>>, path: &str, bytes: &[u8], mode: u32) -> Result<()> {
    let mut header = header(EntryType::Regular, bytes.len(), mode);
    Ok(archive.append_data(&mut header, path, bytes)?)
}

fn put_directory(archive: &mut Builder<Vec<u8>>, path: &str) -> Result<()> {
    let mut header = header(EntryType::Directory, 0, 0o755);
    Ok(archive.append_data(&mut header, path, &[][..])?)
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use flate2::read::GzDecoder;
    use tar::Archive;

    use super::*;

    fn image(binary: &[u8]) -> (Vec<u8>, String) {
        let name: Name = "acme/ringfence:dev".parse().expect("a name");
        let files: [(&str, &[u8]); 2] = [("/usr/bin/ringfence", binary), ("/usr/bin/x", b"x")];
        let image = Image {
            name: &name,
            architecture: "amd64",
            version: "1.2.3",
            files: &files,
        };
        image.write().expect("it is written to memory")
    }

    fn read(archive: &[u8]) -> BTreeMap<String, Vec<u8>> {
        let mut files = BTreeMap::new();
        for entry in Archive::new(archive).entries().expect("an archive") {
            let mut entry = entry.expect("an entry");
            let header = entry.header();
            assert_eq!(header.mtime().expect("a number"), 0);
            assert_eq!(header.uid().expect("a number"), 0);
            assert_eq!(header.gid().expect("a number"), 0);
            assert_eq!(header.username_bytes(), Some(&b""[..]));
            let path = entry.path().expect("a path").display().to_string();
            let mut bytes = Vec::new();
            entry.read_to_end(&mut bytes).expect("its content");
            files.insert(path, bytes);
        }
        files
    }

    #[test]
    fn what_was_put_in_is_found_by_following_the_digests() {
        let (bytes, digest) = image(b"binary");
        let files = read(&bytes);
        let json = |path: &str| -> Value {
            serde_json::from_slice(files.get(path).expect("it is there")).expect("it is JSON")
        };
        let follow = |descriptor: &Value| -> &[u8] {
            let bytes = files.get(&blob(descriptor)).expect("the blob is there");
            assert_eq!(descriptor["digest"], format!("sha256:{}", hex(bytes)));
            assert_eq!(descriptor["size"], bytes.len());
            bytes
        };
        assert_eq!(json("oci-layout")["imageLayoutVersion"], "1.0.0");
        let entry = &json("index.json")["manifests"][0];
        assert_eq!(entry["digest"], digest);
        assert_eq!(entry["platform"]["architecture"], "amd64");
        assert_eq!(
            entry["annotations"]["io.containerd.image.name"],
            "docker.io/acme/ringfence:dev"
        );
        let manifest: Value = serde_json::from_slice(follow(entry)).expect("JSON");
        let config: Value = serde_json::from_slice(follow(&manifest["config"])).expect("JSON");
        assert_eq!(config["config"]["Entrypoint"][0], "/usr/bin/ringfence");

        let packed = follow(&manifest["layers"][0]);
        // No flags (and so no name), no date, no system.
        assert_eq!(packed[3..8], [0, 0, 0, 0, 0]);
        assert_eq!(packed[9], 255);
        let mut layer = Vec::new();
        GzDecoder::new(packed)
            .read_to_end(&mut layer)
            .expect("it is gzip");
        assert_eq!(
            config["rootfs"]["diff_ids"][0],
            format!("sha256:{}", hex(&layer))
        );
        let layer = read(&layer);
        let paths: Vec<&str> = layer.keys().map(String::as_str).collect();
        assert_eq!(
            paths,
            ["usr/", "usr/bin/", "usr/bin/ringfence", "usr/bin/x"]
        );
        assert_eq!(layer["usr/bin/ringfence"], b"binary");

        let docker = &json("manifest.json")[0];
        assert_eq!(docker["RepoTags"][0], "acme/ringfence:dev");
        assert_eq!(docker["Config"], blob(&manifest["config"]));
        assert_eq!(docker["Layers"][0], blob(&manifest["layers"][0]));
    }

    #[test]
    fn the_same_is_the_same_and_another_binary_is_another_image() {
        assert_eq!(image(b"one"), image(b"one"));
        assert_ne!(image(b"one").1, image(b"two").1);
    }
}
