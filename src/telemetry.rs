//! Logs.
/// line
pub struct AccessLine<'a> {
    /// a
    pub remote: std::net::IpAddr,
    /// a
    pub user: Option<&'a str>,
    /// a
    pub method: &'a str,
    /// a
    pub uri: &'a str,
    /// a
    pub status: u16,
    /// a
    pub bytes: Option<u64>,
    /// a
    pub referer: Option<&'a str>,
    /// a
    pub user_agent: Option<&'a str>,
}
impl AccessLine<'_> {
    /// w
    pub fn write(&self) {}
}
