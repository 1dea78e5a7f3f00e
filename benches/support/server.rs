//! A server under comparison, as a process of its own with its data in a directory of its own.

use std::fs;
use std::io;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use super::client::Image;

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
    process: Child,
}

impl Server {
    /// Starts a server and waits until it answers.
    pub(crate) fn start(kind: Kind, directory: &Path, image: &Image) -> io::Result<Self> {
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let home = directory.join(format!("{kind:?}"));
        fs::create_dir_all(&home)?;
        let mut command = match kind {
            Kind::Seawall => {
                let mut command = Command::new(env!("CARGO_BIN_EXE_seawall"));
                command.arg("serve").arg(registry_config(&home, port)?);
                command
            }
            Kind::DockerRegistry => {
                let mut command = Command::new("docker-registry");
                command.arg("serve").arg(registry_config(&home, port)?);
                command
            }
            Kind::Nginx => {
                let mut command = Command::new("nginx");
                command.arg("-c").arg(nginx_config(&home, port, image)?);
                command
            }
        };
        let process = command
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        let mut server = Self {
            kind,
            port,
            process,
        };
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            if server.process.try_wait()?.is_some() {
                return Err(io::Error::other("it ended at once"));
            }
            std::thread::yield_now();
        }
        Ok(server)
    }

    /// Returns the processor time used so far, in seconds.
    pub(crate) fn cpu_seconds(&self) -> f64 {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.process.id())).expect("a stat");
        let fields: Vec<&str> = stat
            .rsplit(") ")
            .next()
            .unwrap_or_default()
            .split(' ')
            .collect();
        let ticks: f64 = [11, 12]
            .iter()
            .map(|at| fields[*at].parse::<f64>().expect("a number of ticks"))
            .sum();
        ticks / 100.0
    }

    /// Returns the largest resident size so far, in kB.
    pub(crate) fn peak_kb(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.process.id()));
        status
            .expect("a status")
            .lines()
            .find_map(|line| line.strip_prefix("VmHWM:"))
            .and_then(|value| value.trim().trim_end_matches(" kB").parse().ok())
            .expect("a size")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn registry_config(home: &Path, port: u16) -> io::Result<PathBuf> {
    let file = home.join("config.yml");
    let text = format!(
        "version: 0.1\nlog: {{level: error, accesslog: {{disabled: true}}}}\nstorage: {{filesystem: {{rootdirectory: {}}}}}\nhttp: {{addr: '127.0.0.1:{port}'}}\n",
        home.join("data").display()
    );
    fs::write(&file, text)?;
    Ok(file)
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
