//! The geo family. Redis 7.4.1 gave these replies.

use crate::testing::{session, single, Fixture};
use resp::args::Args;
use resp::encode::Proto;

#[test]
fn places_are_kept_found_and_stored() {
    let mut f = Fixture::new(single());
    f.expect(&[
        ("GEOADD Sicily 13.361389 38.115556 Palermo 15.087269 37.502669 Catania", ":2\r\n"),
        ("GEOADD Sicily NX 13 38 Palermo 13.583333 37.316667 Agrigento", ":1\r\n"),
        ("GEOADD Sicily CH XX 13.361389 38.115556 Palermo 12.5 38 Trapani", ":0\r\n"),
        ("TYPE Sicily", "+zset\r\n"),
        ("ZSCORE Sicily Palermo", "$16\r\n3479099956230698\r\n"),
        ("GEOPOS Sicily Palermo none", "*2\r\n*2\r\n$20\r\n13.36138933897018433\r\n$20\r\n38.11555639549629859\r\n*-1\r\n"),
        ("GEOPOS none Palermo", "*1\r\n*-1\r\n"),
        ("GEOHASH Sicily Palermo Catania none", "*3\r\n$11\r\nsqc8b49rny0\r\n$11\r\nsqdtr74hyu0\r\n$-1\r\n"),
        ("GEODIST Sicily Palermo Catania", "$11\r\n166274.1516\r\n"),
        ("GEODIST Sicily Palermo Catania km", "$8\r\n166.2742\r\n"),
        ("GEODIST Sicily Palermo Catania mi", "$8\r\n103.3182\r\n"),
        ("GEODIST Sicily Palermo Palermo ft", "$6\r\n0.0000\r\n"),
        ("GEODIST Sicily Palermo none", "$-1\r\n"),
        ("GEODIST none a b", "$-1\r\n"),
        ("GEORADIUS Sicily 15 37 200 km ASC", "*3\r\n$7\r\nCatania\r\n$9\r\nAgrigento\r\n$7\r\nPalermo\r\n"),
        ("GEORADIUS Sicily 15 37 200 km WITHDIST WITHHASH WITHCOORD COUNT 1", "*1\r\n*4\r\n$7\r\nCatania\r\n$7\r\n56.4413\r\n:3479447370796909\r\n*2\r\n$20\r\n15.08726745843887329\r\n$20\r\n37.50266842333162032\r\n"),
        ("GEORADIUS_RO Sicily 15 37 100 km", "*1\r\n$7\r\nCatania\r\n"),
        ("GEORADIUSBYMEMBER Sicily Agrigento 100 km DESC", "*2\r\n$7\r\nPalermo\r\n$9\r\nAgrigento\r\n"),
        ("GEORADIUSBYMEMBER_RO Sicily Agrigento 0 m", "*1\r\n$9\r\nAgrigento\r\n"),
        ("GEORADIUSBYMEMBER none Agrigento 100 km", "*0\r\n"),
        ("GEOSEARCH Sicily FROMLONLAT 15 37 BYBOX 400 400 km ASC WITHDIST", "*3\r\n*2\r\n$7\r\nCatania\r\n$7\r\n56.4413\r\n*2\r\n$9\r\nAgrigento\r\n$8\r\n130.4235\r\n*2\r\n$7\r\nPalermo\r\n$8\r\n190.4424\r\n"),
        ("GEOSEARCH Sicily FROMMEMBER Palermo BYRADIUS 100 km", "*2\r\n$9\r\nAgrigento\r\n$7\r\nPalermo\r\n"),
        ("GEOSEARCH none FROMMEMBER Palermo BYRADIUS 100 km", "*0\r\n"),
        ("GEOSEARCH Sicily FROMLONLAT 0 0 BYRADIUS 1 m", "*0\r\n"),
        ("GEOSEARCHSTORE d Sicily FROMLONLAT 15 37 BYRADIUS 100 km", ":1\r\n"),
        ("ZRANGE d 0 -1 WITHSCORES", "*2\r\n$7\r\nCatania\r\n$16\r\n3479447370796909\r\n"),
        ("GEOSEARCHSTORE d Sicily FROMLONLAT 15 37 BYRADIUS 200 km COUNT 2 STOREDIST", ":2\r\n"),
        ("ZRANGE d 0 -1 WITHSCORES", "*4\r\n$7\r\nCatania\r\n$16\r\n56.4412578701582\r\n$9\r\nAgrigento\r\n$18\r\n130.42348706714702\r\n"),
        ("GEORADIUS Sicily 15 37 200 km STORE d", ":3\r\n"),
        ("ZCARD d", ":3\r\n"),
        ("GEOSEARCHSTORE d none FROMMEMBER x BYRADIUS 1 m", ":0\r\n"),
        ("EXISTS d", ":0\r\n"),
    ]);
}

#[test]
fn wrong_arguments_are_told() {
    let mut f = Fixture::new(single());
    f.expect(&[
        ("GEOADD g 13.361389 38.115556 a", ":1\r\n"),
        ("GEOADD g 200 10 b", "-ERR invalid longitude,latitude pair 200.000000,10.000000\r\n"),
        ("GEOADD g 1 x b", "-ERR value is not a valid float\r\n"),
        ("GEOADD g nx xx 1 1 b", "-ERR syntax error\r\n"),
        ("GEOADD g 1 1 b 2", "-ERR syntax error\r\n"),
        ("GEOADD g ch ch ch", "-ERR syntax error\r\n"),
        ("GEODIST g a a yd", "-ERR unsupported unit provided. please use M, KM, FT, MI\r\n"),
        ("GEODIST g a a m x", "-ERR syntax error\r\n"),
        ("GEORADIUS g x 1 1 m", "-ERR value is not a valid float\r\n"),
        ("GEORADIUS g 1 1 -1 m", "-ERR radius cannot be negative\r\n"),
        ("GEORADIUS g 1 1 x m", "-ERR need numeric radius\r\n"),
        ("GEORADIUS g 1 1 1 yd", "-ERR unsupported unit provided. please use M, KM, FT, MI\r\n"),
        ("GEORADIUS g 1 1 1 m COUNT 0", "-ERR COUNT must be > 0\r\n"),
        ("GEORADIUS g 1 1 1 m COUNT x", "-ERR value is not an integer or out of range\r\n"),
        ("GEORADIUS g 1 1 1 m ANY", "-ERR the ANY argument requires COUNT argument\r\n"),
        ("GEORADIUS g 1 1 1 m BOGUS", "-ERR syntax error\r\n"),
        ("GEORADIUS g 1 1 1 m STORE", "-ERR syntax error\r\n"),
        ("GEORADIUS_RO g 1 1 1 m STORE d", "-ERR syntax error\r\n"),
        ("GEORADIUS g 1 1 1 m WITHDIST STORE d", "-ERR STORE option in GEORADIUS is not compatible with WITHDIST, WITHHASH and WITHCOORD options\r\n"),
        ("GEORADIUSBYMEMBER g none 1 m", "-ERR could not decode requested zset member\r\n"),
        ("GEOSEARCH g FROMMEMBER none BYRADIUS 1 m", "-ERR could not decode requested zset member\r\n"),
        ("GEOSEARCH g BYRADIUS 1 m ASC WITHDIST WITHHASH", "-ERR exactly one of FROMMEMBER or FROMLONLAT can be specified for GEOSEARCH\r\n"),
        ("geosearch g FROMLONLAT 1 1 ASC WITHDIST", "-ERR exactly one of BYRADIUS and BYBOX can be specified for geosearch\r\n"),
        ("GEOSEARCH g FROMLONLAT 1 1 FROMMEMBER a BYRADIUS 1 m", "-ERR syntax error\r\n"),
        ("GEOSEARCH g FROMMEMBER a BYRADIUS 1 m BYBOX 1 1 m", "-ERR syntax error\r\n"),
        ("GEOSEARCH g FROMMEMBER a BYBOX 1 -1 m", "-ERR height or width cannot be negative\r\n"),
        ("GEOSEARCH g FROMMEMBER a BYBOX x 1 m", "-ERR need numeric width\r\n"),
        ("GEOSEARCH g FROMMEMBER a BYBOX 1 x m", "-ERR need numeric height\r\n"),
        ("GEOSEARCH g FROMMEMBER a BYRADIUS 1 m STOREDIST", "-ERR syntax error\r\n"),
        ("GEOSEARCHSTORE d g FROMMEMBER a BYRADIUS 1 m WITHDIST", "-ERR GEOSEARCHSTORE is not compatible with WITHDIST, WITHHASH and WITHCOORD options\r\n"),
        ("GEOSEARCHSTORE d g FROMMEMBER a BYRADIUS 1 m STORE x", "-ERR syntax error\r\n"),
    ]);
}

#[test]
fn another_type_is_refused() {
    let mut f = Fixture::new(single());
    f.line("SET s x");
    for line in [
        "GEOADD s 1 1 a",
        "GEODIST s a b",
        "GEOHASH s a",
        "GEOPOS s a",
        "GEORADIUS s x 1 1 m",
        "GEORADIUSBYMEMBER_RO s a x m",
        "GEOSEARCH s FROMMEMBER a BYRADIUS x m",
        "GEOSEARCHSTORE d s FROMMEMBER a BYRADIUS x m",
    ] {
        let wrong = "-WRONGTYPE Operation against a key holding the wrong kind of value\r\n";
        assert_eq!(f.line(line), wrong, "{line}");
    }
}

#[test]
fn resp3_has_coordinates_as_doubles() {
    let mut f = Fixture::new(single());
    f.line("GEOADD g 13.361389 38.115556 a");
    let mut session = session(9);
    session.proto = Proto::Resp3;
    assert_eq!(
        f.run_as(&mut session, &["GEOPOS", "g", "a", "none"]),
        "*2\r\n*2\r\n,13.36138933897018433\r\n,38.11555639549629859\r\n_\r\n"
    );
    assert_eq!(
        f.run_as(&mut session, &["GEODIST", "g", "a", "a"]),
        "$6\r\n0.0000\r\n"
    );
}

#[test]
fn keys_of_every_store_are_found() {
    let spec = crate::table().get(b"georadius").unwrap().spec;
    let line = "GEORADIUS a 1 2 3 km STORE b STOREDIST store COUNT 1 STORE";
    let words: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
    let args = Args::from(words.as_slice());
    let mut keys = Vec::new();
    spec.keys(args, |index| keys.push(args.at(index))).unwrap();
    assert_eq!(keys, [&b"a"[..], b"b", b"store"]);
}

/// D5: how much is stored is known only within the transaction, which can't be put off there.
#[test]
fn transactions_store_no_more_than_they_have_room_for() {
    let mut f = Fixture::new(single());
    for n in 0..20 {
        let member = format!("{n}").repeat(40_000);
        f.run(&["GEOADD", "g", "1", "1", &member]);
    }
    let search = "GEOSEARCHSTORE d g FROMLONLAT 1 1 BYRADIUS 1 km";
    for count in [1, 20] {
        f.line("MULTI");
        f.line(&format!("{search} COUNT {count}"));
        let reply = f.line("EXEC");
        let fits = count == 1;
        assert_eq!(reply.starts_with("*1\r\n:1"), fits, "{reply}");
        assert_eq!(reply.starts_with("*1\r\n-MISCONF"), !fits, "{reply}");
    }
    assert_eq!(f.line(search), ":20\r\n");
}
