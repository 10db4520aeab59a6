//! Places on earth, kept as scores of sorted sets: the rows of their commands.
//!
//! `cell` is the arithmetic of geohashes, `shape` that of distances; the handlers are in the other files. Sines and cosines stay
//! on the leader: what a search stores is logged as members with scores.

use super::room;
use super::rows::rows;

mod cell;
mod read;
mod search;
mod shape;

rows! { pub static ROWS: Geo [GEO] {
    "geoadd" -5 [WRITE DENYOOM] "3.2.0" key(1 RW UPDATE) => read::geoadd: "Gives members places." .amplifies(room::scores);
    "geodist" -4 [READONLY] "3.2.0" key(1 RO ACCESS) => read::geodist: "The distance between two members.";
    "geohash" -2 [READONLY] "3.2.0" key(1 RO ACCESS) => read::geohash: "The geohashes of members, as text.";
    "geopos" -2 [READONLY] "3.2.0" key(1 RO ACCESS) => read::geopos: "The longitudes and latitudes of members.";
    "georadius" -6 [WRITE DENYOOM] "3.2.0" key(1 RO ACCESS) keyword("STORE" 6 0 1 OW UPDATE) keyword("STOREDIST" 6 0 1 OW UPDATE) => search::georadius: "The members within a distance of a place." .deprecated("6.2.0", "`GEOSEARCH` and `GEOSEARCHSTORE` with the `BYRADIUS` argument").keys_by(search::radius_keys).amplifies(room::found);
    "georadius_ro" -6 [READONLY] "3.2.10" key(1 RO ACCESS) => search::georadius_ro: "The members within a distance of a place." .deprecated("6.2.0", "`GEOSEARCH` with the `BYRADIUS` argument");
    "georadiusbymember" -5 [WRITE DENYOOM] "3.2.0" key(1 RO ACCESS) keyword("STORE" 5 0 1 OW UPDATE) keyword("STOREDIST" 5 0 1 OW UPDATE) => search::georadiusbymember: "The members within a distance of a member." .deprecated("6.2.0", "`GEOSEARCH` and `GEOSEARCHSTORE` with the `BYRADIUS` and `FROMMEMBER` arguments").keys_by(search::member_keys).amplifies(room::found);
    "georadiusbymember_ro" -5 [READONLY] "3.2.10" key(1 RO ACCESS) => search::georadiusbymember_ro: "The members within a distance of a member." .deprecated("6.2.0", "`GEOSEARCH` with the `BYRADIUS` and `FROMMEMBER` arguments");
    "geosearch" -7 [READONLY] "6.2.0" key(1 RO ACCESS) => search::geosearch: "The members within a circle or a box.";
    "geosearchstore" -8 [WRITE DENYOOM] "6.2.0" key(1 OW UPDATE) key(2 RO ACCESS) => search::geosearchstore: "Stores the members within a circle or a box." .amplifies(room::found);
}}
