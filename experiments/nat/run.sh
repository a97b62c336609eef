#!/usr/bin/env bash
# Who reaches whom through which address translators: every ordered pair of the kinds below, pairs behind one translator,
# pairs of which one has a router that maps ports, pairs with IPv6, and pairs behind two translators each, all in network
# namespaces of their own; and a table of how the two ended up connected. See README.md beside this file.
#
#   run.sh [PATH TO THE reach EXAMPLE, WITH THE router EXAMPLE BESIDE IT]
#
# KINDS, SHARED, MAPPED and MORE in the environment choose other pairs, SECONDS_EACH how long they have, VERBOSE=1 shows the
# logs. Pairs with miniupnpd (+upnp, +pcp) are left out where it, in its nftables build, is not installed. ROUTER=PATH names the router example, where another program than reach is run: see iroh beside this file.
#
# Needs root, ip (iproute2) and nft (nftables); says so and leaves with 0 where they are missing. Installs nothing. All
# traffic stays inside the namespaces, which are removed at the end, whatever happens.
set -uo pipefail

skip() { echo "skipped: $1"; exit 0; }
[ "$(id -u)" = 0 ] || skip "network namespaces need root"
for tool in ip nft; do command -v "$tool" >/dev/null || skip "$tool is not installed"; done

here=$(cd "$(dirname "$0")" && pwd)
reach=${1:-${CARGO_TARGET_DIR:-$here/../../target}/release/examples/reach}
router=${ROUTER:-$(dirname "$reach")/router}
[ -x "$reach" ] && [ -x "$router" ] || { echo "no $reach: cargo build --release -p murmur-quic --examples" >&2; exit 2; }

kinds=${KINDS-"open full-cone port-restricted symmetric"}
# Both behind one translator of this kind, which does not turn packets around for those inside.
shared=${SHARED-"port-restricted symmetric"}
# A and B. A router with +map is the example and speaks NAT-PMP; with +upnp or +pcp it is miniupnpd and speaks only that.
mapped=${MAPPED-"symmetric+map/symmetric symmetric/symmetric+map port-restricted+map/symmetric symmetric+map/port-restricted
    symmetric+upnp/symmetric symmetric+pcp/symmetric"}
# IPv6 alone, on the open internet or behind a router that lets in only what answers; both versions of IP; and a home router
# behind a carrier's translator, both port-restricted, of which two in the second pair are behind the same carrier.
more=${MORE-"open6/open6 open6/firewall6 firewall6/open6 firewall6/firewall6 dual/open dual/open6 open/dual open6/dual dual/dual
    open/open6 open6/open carrier/carrier carrier/neighbour"}
pairs=()
for a in $kinds; do for b in $kinds; do pairs+=("$a/$b"); done; done
for kind in $shared; do pairs+=("$kind/shared"); done
for pair in $mapped $more; do
    case "$pair" in *+upnp*|*+pcp*)
        command -v miniupnpd >/dev/null || { echo "left out: $pair, miniupnpd is not installed"; continue; };;
    esac
    pairs+=("$pair")
done
seconds=${SECONDS_EACH:-24}
id=mm$$
work=$(mktemp -d)
pids=() servants=()

clean() {
    for pid in "${pids[@]}" "${servants[@]}"; do kill "$pid" 2>/dev/null; done
    wait 2>/dev/null
    for ns in $(ip netns list | awk '{print $1}' | grep "^$id-"); do ip netns del "$ns"; done
    rm -rf "$work"
}
trap clean EXIT
trap 'exit 130' INT TERM

ip netns add "$id-probe" 2>/dev/null || skip "network namespaces are not allowed here"
echo 'table ip t { chain c { type nat hook postrouting priority srcnat; masquerade; }; }' \
    | ip netns exec "$id-probe" nft -f - 2>/dev/null || skip "nftables cannot translate addresses here"
ip netns del "$id-probe"

# address NS ADDRESS DEVICE
address() { ip -n "$1" addr add "$2" dev "$3"; }

# space NS FORWARDS: addresses of IPv6 are good at once, without asking whether anybody has them.
space() {
    ip netns add "$1" && ip -n "$1" link set lo up
    ip netns exec "$1" sysctl -qw net.ipv4.ip_forward="$2" net.ipv6.conf.all.forwarding="$2" \
        net.ipv6.conf.default.accept_dad=0
}

# translate NS KIND HOST: the rules of one translator whose outer interface is called wan.
translate() {
    local how="masquerade" inward=""
    [ "${2%+*}" = symmetric ] && how="masquerade random,fully-random"
    # A full cone passes everything that comes for a port on to the host that used it; with one host, every port is its.
    [ "$2" = full-cone ] && inward="iifname \"wan\" meta l4proto udp dnat to $3"
    [ "$2" != "${2%+*}" ] && inward="iifname \"wan\" meta l4proto udp dnat ip to udp dport map @mapped"
    ip netns exec "$1" nft -f - <<RULES
table ip nat {
    map mapped { type inet_service : ipv4_addr . inet_service; flags timeout; }
    chain out { type nat hook postrouting priority srcnat; oifname "wan" $how; }
    chain in {
        type nat hook prerouting priority dstnat;
        $inward
    }
}
table ip filter {
    chain own { type filter hook input priority filter; iifname "wan" ct state new,invalid drop; }
    chain through {
        type filter hook forward priority filter;
        iifname "wan" ct state new ct status dnat accept
        iifname "wan" ct state new drop
    }
}
RULES
}

# firewall NS: the rules of a router that translates nothing and lets in only what answers.
firewall() {
    ip netns exec "$1" nft -f - <<'RULES'
table ip6 filter {
    chain own { type filter hook input priority filter; iifname "wan" ct state new,invalid drop; }
    chain through { type filter hook forward priority filter; iifname "wan" ct state new,invalid drop; }
}
RULES
}

# uplink NET SIDE BOX VERSIONS: plugs a machine into the internet, by IP of these versions.
uplink() {
    local n=$([ "$2" = a ] && echo 1 || echo 2)
    ip -n "$1-net" link add "to-$2" type veth peer name wan netns "$3"
    ip -n "$1-net" link set "to-$2" up; ip -n "$3" link set wan up
    case "$4" in *4*)
        address "$1-net" "198.51.10$n.1/24" "to-$2"; address "$3" "198.51.10$n.2/24" wan
        ip -n "$3" route add default via "198.51.10$n.1";;
    esac
    case "$4" in *6*)
        address "$1-net" "2001:db8:$n::1/64" "to-$2"; address "$3" "2001:db8:$n::2/64" wan
        ip -n "$3" route add default via "2001:db8:$n::1";;
    esac
}

# local_net BOX PREFIX LENGTH: the inner side of a router, whose own address ends in 1.
local_net() {
    ip -n "$1" link add lan type bridge
    address "$1" "${2}1/$3" lan; ip -n "$1" link set lan up
}

# inside BOX HOST INTERFACE PREFIX LENGTH NUMBER: plugs a machine into the inner side of a router.
inside() {
    ip -n "$1" link add "lan$6" type veth peer name "$3" netns "$2"
    ip -n "$1" link set "lan$6" master lan up
    address "$2" "$4$6/$5" "$3"; ip -n "$2" link set "$3" up
    ip -n "$2" route add default via "${4}1"
}

# home BOX HOST NUMBER KIND: a translator, whose outer side is there already, and the one host behind it.
home() {
    local_net "$1" "10.0.$3." 24
    inside "$1" "$2" eth "10.0.$3." 24 2
    translate "$1" "$4" "10.0.$3.2"
}

# side NET SIDE KIND: a host on the open internet, behind a router of this kind, or behind the one of side a.
side() {
    local host="$1-$2" box="$1-$2n" carrier="$1-$2c" number=$([ "$2" = a ] && echo 1 || echo 2)
    space "$host" 0
    case "$3" in
        open) uplink "$1" "$2" "$host" 4;;
        open6) uplink "$1" "$2" "$host" 6;;
        dual) uplink "$1" "$2" "$host" 46;;
        shared) inside "$1-an" "$host" eth 10.0.1. 24 3;;
        firewall6)
            space "$box" 1; uplink "$1" "$2" "$box" 6
            ip -n "$1-net" route add "2001:db8:1$number::/64" via "2001:db8:$number::2"
            local_net "$box" "2001:db8:1$number::" 64; inside "$box" "$host" eth "2001:db8:1$number::" 64 2
            firewall "$box";;
        carrier)
            space "$carrier" 1; uplink "$1" "$2" "$carrier" 4
            local_net "$carrier" 100.64.0. 24; translate "$carrier" port-restricted
            space "$box" 1; inside "$carrier" "$box" wan 100.64.0. 24 2
            home "$box" "$host" "$number" port-restricted;;
        neighbour)
            space "$box" 1; inside "$1-ac" "$box" wan 100.64.0. 24 3
            home "$box" "$host" "$number" port-restricted;;
        *)
            space "$box" 1; uplink "$1" "$2" "$box" 4
            home "$box" "$host" "$number" "$3"
            [ "$3" = "${3%+*}" ] || map_ports "$box" "198.51.10$number.2" "$work/$1-$2" "${3#*+}";;
    esac
}

# map_ports BOX OUTER-ADDRESS LOG BY: has the router map ports, by our own example or by a real one.
map_ports() {
    if [ "$4" = map ]; then
        ip netns exec "$1" "$router" --outer "$2" --lease-max 4 >"$3.router" &
        servants+=($!)
        return
    fi
    ip netns exec "$1" nft -f - <<'RULES'
table inet upnp {
    chain pre { }
    chain post { }
    chain through { }
    chain prerouting { type nat hook prerouting priority dstnat - 1; jump pre; }
    chain postrouting { type nat hook postrouting priority srcnat - 1; jump post; }
    chain forward { type filter hook forward priority filter - 1; jump through; }
}
RULES
    cat >"$3.conf" <<CONF
ext_ifname=wan
listening_ip=lan
enable_upnp=$([ "$4" = upnp ] && echo yes || echo no)
enable_natpmp=$([ "$4" = upnp ] && echo no || echo yes)
upnp_table_name=upnp
upnp_nat_table_name=upnp
upnp_forward_chain=through
upnp_nat_chain=pre
upnp_nat_postrouting_chain=post
secure_mode=yes
uuid=00000000-0000-0000-0000-000000000001
allow 1024-65535 10.0.0.0/8 1024-65535
CONF
    ip netns exec "$1" miniupnpd -d -f "$3.conf" -P "$3.pid" >"$3.miniupnpd" 2>&1 &
    servants+=($!)
}

# versions KIND...: the versions of IP that hosts of these kinds have, all together.
versions() {
    local kind all=""
    for kind in "$@"; do case "$kind" in *6) all+=6;; dual) all+=46;; *) all+=4;; esac; done
    case "$all" in *4*6*|*6*4*) echo 46;; *) echo "${all:0:1}";; esac
}

# The two on the open internet, c and d: at addresses of their own where the pair has one version of IP, else both at all of them,
# at a port each. `at c|d VERSION-DIALED VERSIONS` is where they are dialed.
at() {
    local n=$([ "$1" = c ] && echo 1 || echo 2) port=4000
    [ "$1$3" = d46 ] && port=4001
    case "$2" in 4) echo "203.0.113.$n:$port";; 6) echo "[2001:db8:113::$n]:$port";; 46) echo "[::]:$port";; esac
}

# peer NAMESPACE LOG KIND VERSIONS SECRET: starts one of the pair. One with both versions of IP is told of c by one, of d by the other.
peer() {
    local own=$(versions "$3") any=0.0.0.0 map=""
    [ "$own" = 4 ] || any="[::]"
    [ "$3" = "${3%+*}" ] || map=--port-map
    start "$1" "$2" --secret "$5" --listen "$any:400$5" --bootstrap "$(at c "${own:0:1}" "$4")" --bootstrap "$(at d "${own: -1}" "$4")" $map
}

# networks KIND-A KIND-B NUMBER: builds those of a pair.
networks() {
    local net="$id-$3"
    space "$net-net" 1
    for n in 1 2; do address "$net-net" "203.0.113.$n/32" lo; address "$net-net" "2001:db8:113::$n/128" lo; done
    side "$net" a "$1"
    side "$net" b "$2"
}

# pair KIND-A KIND-B NUMBER: starts the peers. `a` comes first, so `b` hears of it and dials.
pair() {
    local net="$id-$3" log="$work/$3" all=$(versions "$1" "$2")
    start "$net-net" "$log.c" --secret 1 --listen "$(at c "$all" "$all")" --relay
    start "$net-net" "$log.d" --secret 2 --listen "$(at d "$all" "$all")" --bootstrap "$(at c "${all: -1}" "$all")"
    peer "$net-a" "$log.a" "$1" "$all" 3
    sleep 1
    peer "$net-b" "$log.b" "$2" "$all" 4
}

start() {
    local space=$1 log=$2; shift 2
    # Those on the open internet outlast the two who look for each other.
    local lasts=$seconds; [ "${space##*-}" = net ] && lasts=$((seconds + 4))
    ip netns exec "$space" timeout $((seconds + 20)) "$reach" "$@" --seconds "$lasts" >"$log.out" 2>"$log.err" &
    pids+=($!)
}

# How A's log says it reached B, and whether B greeted.
outcome() {
    local line
    line=$(grep '"from":3,"to":4,"reach":' "$work/$1.a.out" || true)
    [ -n "$line" ] || { echo none; return; }
    case "$line" in *'"greeted":true'*) ;; *) echo silent; return;; esac
    echo "$line" | sed 's/.*"reach":"\([a-z]*\)".*/\1/'
}

# mapping NUMBER-SIDE KIND: how far a router's work got: mapped by its protocol; by the example mapped, renewed before its four
# seconds were up, and removed when the peer left, which may have asked for that twice.
mapping() {
    local log="$work/$id-$1.router" by
    case "$2" in *+upnp) by=UPnP;; *+pcp) by=PCP;; *) by="";; esac
    [ -z "$by" ] || { grep -q "passes .*($by)" "$work/${1/-/.}.err" && echo "mapped" || { echo "none by $by"; return 1; }; return; }
    [ -e "$log" ] || return 0
    local times=$(grep -c '^mapped' "$log") gone=$(grep -c '^removed' "$log")
    [ "$times" -ge 2 ] && [ "$gone" -ge 1 ] && echo "mapped" || { echo "mapped $times times, removed $gone"; return 1; }
}

# How long B took to a straight way to A, from its start; to any way, if there is no straight one.
after() {
    sed -n 's/.*"from":4,"to":3,.*"after_ms":\([0-9]*\).*/\1 ms/p' "$work/$1.b.out"
}

# All networks before the first peer: the kernel may take its time for them, above all while it clears others away.
number=0
for both in "${pairs[@]}"; do networks "${both%/*}" "${both#*/}" $number; number=$((number + 1)); done
number=0
for both in "${pairs[@]}"; do pair "${both%/*}" "${both#*/}" $number; number=$((number + 1)); done
wait "${pids[@]}" 2>/dev/null
[ -n "${VERBOSE:-}" ] && cat "$work"/*.[ab].out; [ -n "${VERBOSE:-}" ] && cat "$work"/*.router "$work"/*.miniupnpd "$work"/*.[ab].err 2>/dev/null

# What theory says the weakest acceptable outcome is: two translators of which one is symmetric and the other looks at ports
# leave only the relay, as do two without a version of IP in common, or behind one carrier; everything else goes straight.
number=0 missed=0
printf '%-20s %-16s %-9s %-8s %s\n' "a" "b" "outcome" "after" "a's mapping"
for both in "${pairs[@]}"; do
    a=${both%/*} b=${both#*/}
    got=$(outcome $number)
    mapping=$(sed -n 's/.*"mapping":"\(.*\)"}/\1/p' "$work/$number.a.out" | head -1)
    printf '%-20s %-16s %-9s %-8s %s\n' "$a" "$b" "$got" "$(after $number)" "$mapping"
    case "$both" in
        symmetric/symmetric|symmetric/port-restricted|port-restricted/symmetric) want="relayed";;
        open/open6|open6/open|carrier/neighbour) want="relayed";;
        */shared) want="direct";;
        *) want="direct punched";;
    esac
    case " $want " in *" $got "*) ;; *) missed=$((missed + 1)); echo "  expected: $want"; [ -n "${VERBOSE:-}" ] && cat "$work/$number".*.err;; esac
    for side in a b; do
        said=$(mapping "$number-$side" "${!side}") || { missed=$((missed + 1)); echo "  expected a port that is mapped, renewed, removed: $said"; cat "$work/$number.$side.err"; }
    done
    number=$((number + 1))
done
[ $missed = 0 ] && echo "all $number pairs as expected" || { echo "$missed of $number pairs not as expected"; exit 1; }
