//! Servers outside this cluster that keys are sent to (M26).
//!
//! Owns what is known of one: where it is, what it has said of itself, what the record keeps of a lend to it.
//! Never: a connection.

use super::bytes::{Reader, Writer};
use super::moves::Credentials;
use cluster_bus::NodeId;

/// Where a connection leads, and as whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    pub host: String,
    pub port: u16,
    pub db: i64,
    pub credentials: Credentials,
}

impl Place {
    /// Whether something is shown to the server.
    pub fn has_password(&self) -> bool {
        !matches!(self.credentials, Credentials::None | Credentials::Shard)
    }
}

/// What a server has said of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Server {
    /// The connection's id there; none: it does not tell.
    pub client: Option<u64>,
    /// Its run id; empty: it does not tell.
    pub run: Vec<u8>,
    pub is_cluster: bool,
    pub node: Option<NodeId>,
}

/// Why a server was not reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unreached {
    /// No connection.
    Connecting,
    /// The connection broke, or no greeting came in time.
    Lost,
    /// As its error says.
    Refused(Vec<u8>),
}

/// Of a lend: by what a later leader finds out what became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outside {
    pub host: Box<[u8]>,
    pub port: u16,
    pub db: i64,
    pub client: Option<u64>,
    pub run: Box<[u8]>,
}

impl Outside {
    pub fn of(place: &Place, server: &Server) -> Outside {
        Outside {
            host: place.host.as_bytes().into(),
            port: place.port,
            db: place.db,
            client: server.client,
            run: server.run.as_slice().into(),
        }
    }

    /// Where it is, for a client that has given this.
    pub fn place(&self, credentials: Credentials) -> Place {
        Place {
            host: String::from_utf8_lossy(&self.host).into_owned(),
            port: self.port,
            db: self.db,
            credentials,
        }
    }

    pub(super) fn encode(&self, out: &mut Writer) {
        out.bytes(&self.host);
        out.u16(self.port);
        out.raw(&self.db.to_le_bytes());
        match self.client {
            None => out.u8(0),
            Some(id) => {
                out.u8(1);
                out.u64(id);
            }
        }
        out.bytes(&self.run);
    }

    pub(super) fn take(from: &mut Reader<'_>) -> Option<Outside> {
        Some(Outside {
            host: from.bytes()?.into(),
            port: from.u16()?,
            db: from.array().map(i64::from_le_bytes)?,
            client: match from.u8()? {
                0 => None,
                1 => Some(from.u64()?),
                _ => return None,
            },
            run: from.bytes()?.into(),
        })
    }
}
