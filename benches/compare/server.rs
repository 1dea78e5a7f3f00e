//! The servers that are compared, each as a process of its own with its data in a directory of its own.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::client::Image;
use super::support::process::{Process, docker_registry, free_port, registry_config, seawall};

/// Which server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Seawall,
    DockerRegistry,
    Nginx,
}

/// A running server; it ends with this value.
pub(crate) struct Server {
    pub(crate) kind: Kind,
    pub(crate) port: u16,
    pub(crate) process: Process,
}

impl Server {
    /// Starts a server and waits until it answers.
    pub(crate) fn start(kind: Kind, directory: &Path, image: &Image) -> io::Result<Self> {
        let port = free_port()?;
        let home = directory.join(format!("{kind:?}"));
        fs::create_dir_all(&home)?;
        let (mut command, file) = match kind {
            Kind::Seawall => (seawall(), registry_config(&home, port, "")?),
            Kind::DockerRegistry => (docker_registry("serve"), registry_config(&home, port, "")?),
            Kind::Nginx => {
                let mut command = Command::new("nginx");
                command.arg("-c");
                (command, nginx_config(&home, port, image)?)
            }
        };
        command.arg(file);
        Ok(Self {
            kind,
            port,
            process: Process::start(command, port)?,
        })
    }
}

/// nginx serves the same bytes at the same paths, as files: the floor of what sending them costs.
fn nginx_config(home: &Path, port: u16, image: &Image) -> io::Result<PathBuf> {
    for (path, bytes) in [
        (&image.layer_path, &image.layer),
        (&image.manifest_path, &image.manifest),
    ] {
        let file = home.join("data").join(path.trim_start_matches('/'));
        fs::create_dir_all(file.parent().unwrap_or(home))?;
        fs::write(file, bytes)?;
    }
    let file = home.join("nginx.conf");
    let (home, data) = (home.display(), home.join("data"));
    let text = format!(
        "daemon off; master_process off; pid {home}/pid; error_log {home}/error.log; user root;\n\
         events {{ worker_connections 512; }}\n\
         http {{ access_log off; sendfile on; keepalive_requests 1000000; client_body_temp_path {home}/b; proxy_temp_path {home}/p; fastcgi_temp_path {home}/f; uwsgi_temp_path {home}/u; scgi_temp_path {home}/s;\n\
         server {{ listen 127.0.0.1:{port}; root {}; }} }}\n",
        data.display()
    );
    fs::write(&file, text)?;
    Ok(file)
}
