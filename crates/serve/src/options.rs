//! How a server is to behave.

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::time::Duration;

use crate::ServeError;

/// Where a server listens, whom it answers, and how much a request may ask for. Each limit is named in the error of a
/// request that exceeds it, as the command line's option.
#[derive(Clone, Debug)]
pub struct Options {
    /// Address to listen at. Other machines reach only others than the loopback's.
    pub host: IpAddr,
    /// Port; 0 lets the system choose.
    pub port: u16,
    /// File of the keys that clients may use; absent: none is asked for.
    pub keys: Option<PathBuf>,
    /// Answer other machines without keys.
    pub no_keys: bool,
    /// Hosts from which pictures may be fetched, as `example.org` or `example.org:8443`; none: pictures are data URLs.
    pub allow_fetch: Vec<String>,
    /// Lets fetched names lead to this machine. For tests: it opens what runs here to every client.
    pub fetch_from_loopback: bool,
    /// Origins whose pages may use the server from a browser, as `https://example.org`.
    pub cors: Vec<String>,
    /// Bytes of a request's body at most, and of a fetched picture.
    pub max_body: usize,
    /// Pixels of all pictures of a request at most.
    pub max_pixels: u64,
    /// Pictures of a request at most.
    pub max_pictures: usize,
    /// Tokens of an answer at most.
    pub max_tokens: usize,
    /// Answers or pictures of a request at most.
    pub max_choices: usize,
    /// Answers that a request lets compare at most.
    pub max_answers: usize,
    /// Denoising steps at most.
    pub max_steps: usize,
    /// Steps of test-time adaptation at most.
    pub max_adapt: usize,
    /// Requests a minute for each key, or each address without keys; absent: as many as come.
    pub rate: Option<u32>,
    /// Requests that are being answered or wait at most, for each model.
    pub queue: usize,
    /// Connections at most; further ones wait to be accepted.
    pub connections: usize,
    /// How long a client may take to send a request.
    pub patience: Duration,
    /// How long requests may go on when the server is to end.
    pub grace: Duration,
    /// Show pictures that are no squares whole, on a plain colour; else their centre square is seen.
    pub padded: bool,
    /// Accept JPEGs that are cut off.
    pub cut_off: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            host: Ipv4Addr::LOCALHOST.into(),
            port: 8080,
            keys: None,
            no_keys: false,
            allow_fetch: Vec::new(),
            fetch_from_loopback: false,
            cors: Vec::new(),
            max_body: 32 << 20,
            max_pixels: 64_000_000,
            max_pictures: 16,
            max_tokens: 4096,
            max_choices: 8,
            max_answers: 64,
            max_steps: 100,
            max_adapt: 16,
            rate: None,
            queue: 256,
            connections: 1024,
            patience: Duration::from_secs(30),
            grace: Duration::from_secs(30),
            padded: true,
            cut_off: false,
        }
    }
}

impl Options {
    /// Checks what could be dangerous or cannot work.
    ///
    /// # Errors
    /// `Open` for an address that other machines reach, without keys; `Origin` and `Host` for names that can match
    /// nothing.
    pub fn check(&self) -> Result<(), ServeError> {
        if !self.host.is_loopback() && self.keys.is_none() && !self.no_keys {
            return Err(ServeError::Open(self.host));
        }
        for origin in &self.cors {
            let parsed = url::Url::parse(origin).ok();
            let exact = parsed.is_some_and(|url| url.origin().ascii_serialization() == *origin);
            if !exact {
                return Err(ServeError::Origin(origin.clone()));
            }
        }
        for host in &self.allow_fetch {
            let parsed = url::Url::parse(&format!("https://{host}/")).ok();
            let plain = parsed.is_some_and(|url| {
                url.path() == "/" && url.username().is_empty() && url.query().is_none()
            });
            if !plain || host.contains(['/', '*', '@']) {
                return Err(ServeError::Host(host.clone()));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_machines_need_keys() {
        let open = Options {
            host: Ipv4Addr::UNSPECIFIED.into(),
            ..Options::default()
        };
        assert!(Options::default().check().is_ok());
        assert!(matches!(open.check(), Err(ServeError::Open(_))));
        let keys = Some(PathBuf::from("keys"));
        assert!(
            Options {
                keys,
                ..open.clone()
            }
            .check()
            .is_ok()
        );
        let told = Options {
            no_keys: true,
            ..open
        };
        assert!(told.check().is_ok());
    }

    #[test]
    fn names_that_match_nothing_are_refused() {
        let cors = |origin: &str| Options {
            cors: vec![origin.into()],
            ..Options::default()
        };
        assert!(cors("https://example.org").check().is_ok());
        assert!(cors("http://example.org:3000").check().is_ok());
        for wrong in [
            "example.org",
            "https://example.org/",
            "*",
            "https://example.org:443",
        ] {
            assert!(cors(wrong).check().is_err(), "{wrong}");
        }
        let fetch = |host: &str| Options {
            allow_fetch: vec![host.into()],
            ..Options::default()
        };
        assert!(fetch("example.org").check().is_ok());
        assert!(fetch("example.org:8443").check().is_ok());
        for wrong in ["https://example.org", "*.example.org", "a@b", "a/b", ""] {
            assert!(fetch(wrong).check().is_err(), "{wrong}");
        }
    }
}
