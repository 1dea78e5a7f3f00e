//! `seawall tag restore`: has the server point a tag to what it pointed to before.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::arguments::RestoreArguments;
use crate::cli::Failure;
use crate::cli::server::{Server, printable};

#[derive(Serialize)]
struct Request {
    #[serde(skip_serializing_if = "Option::is_none")]
    digest: Option<String>,
}

/// What the server says, as far as it is shown.
#[derive(Deserialize)]
struct Restored {
    from: Option<String>,
    to: String,
    #[serde(default)]
    manifestrestored: bool,
}

/// Puts the tag back; returns what the server said, and what people read.
pub(super) async fn restore(
    server: &Server,
    arguments: &RestoreArguments,
) -> Result<(Value, String), Failure> {
    let (repository, tag) = (&arguments.name.repository, &arguments.name.tag);
    let request = Request {
        digest: arguments.digest.as_ref().map(ToString::to_string),
    };
    let path = format!("/repositories/{repository}/-/tags/{tag}/restore");
    let told = server.post(&path, &request).await?;
    let restored = Restored::deserialize(&told)
        .map_err(|error| Failure::new(format!("the server tells something strange: {error}")))?;
    let before = restored.from.map_or_else(
        || "it was deleted".to_owned(),
        |from| format!("was {}", printable(&from)),
    );
    let back = if restored.manifestrestored {
        "; its manifest was put back too"
    } else {
        ""
    };
    let to = printable(&restored.to);
    Ok((
        told,
        format!("{repository}:{tag} points to {to} ({before}){back}\n"),
    ))
}
