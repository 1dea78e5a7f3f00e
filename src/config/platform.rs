//! Platforms as people write them: `linux/amd64`, `linux/arm/v7`.

use std::fmt;

/// What an image runs on, as an index lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Platform {
    /// For example `linux`.
    pub os: String,
    /// For example `amd64`.
    pub architecture: String,
    /// For example `v7`; without one, every variant fits.
    pub variant: Option<String>,
}

impl Platform {
    /// Tells whether an index entry's platform is this one.
    pub fn fits(&self, listed: &oci::Platform) -> bool {
        let variant = self.variant.is_none() || self.variant == listed.variant;
        self.os == listed.os && self.architecture == listed.architecture && variant
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        match &self.variant {
            Some(variant) => write!(f, "/{variant}"),
            None => Ok(()),
        }
    }
}

/// Reads a platform.
///
/// # Errors
/// Returns the reason, naming the text.
pub fn parse_platform(text: &str) -> Result<Platform, String> {
    let parts: Vec<&str> = text.split('/').collect();
    let is_word = |part: &&str| {
        let word = part
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte));
        word && !part.is_empty()
    };
    match parts.as_slice() {
        [os, architecture, variant @ ..] if variant.len() <= 1 && parts.iter().all(is_word) => {
            Ok(Platform {
                os: (*os).to_owned(),
                architecture: (*architecture).to_owned(),
                variant: variant.first().map(|variant| (*variant).to_owned()),
            })
        }
        _ => Err(format!(
            "{text:?} is not a platform like linux/amd64 or linux/arm/v7"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::parse_platform;

    #[test]
    fn platforms_have_two_or_three_parts() {
        for good in ["linux/amd64", "linux/arm/v7", "windows/amd64"] {
            let read = parse_platform(good).unwrap_or_else(|error| panic!("{error}"));
            assert_eq!(read.to_string(), good);
        }
        for bad in ["", "linux", "linux/", "/amd64", "a/b/c/d", "linux/amd 64"] {
            let error = parse_platform(bad).expect_err(bad);
            assert!(error.contains(&format!("{bad:?}")), "{error}");
        }
    }
}
