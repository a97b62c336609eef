#!/usr/bin/env bash
# Who reaches whom through which address translators: every ordered pair of the kinds below, pairs behind one translator, and
# pairs of which one has a router that maps ports, each in network namespaces of its own; and a table of how the two ended
# up connected. See README.md beside this file.
#
#   run.sh [PATH TO THE reach EXAMPLE, WITH THE router EXAMPLE BESIDE IT]
#
# KINDS, SHARED and MAPPED in the environment choose other pairs, SECONDS_EACH how long they have, VERBOSE=1 shows the logs.
# MINIUPNPD=upnp or =pcp has miniupnpd (its nftables build) map the ports instead of the example, by these protocols.
# ROUTER=PATH names the router example, where another program than reach is run: see iroh beside this file.
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
# A and B; a router with +map speaks NAT-PMP.
mapped=${MAPPED-"symmetric+map/symmetric symmetric/symmetric+map port-restricted+map/symmetric symmetric+map/port-restricted"}
pairs=()
for a in $kinds; do for b in $kinds; do pairs+=("$a/$b"); done; done
for kind in $shared; do pairs+=("$kind/shared"); done
for pair in $mapped; do pairs+=("$pair"); done
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

# cable NS1 NAME1 ADDRESS1 NS2 NAME2 ADDRESS2
cable() {
    ip -n "$1" link add "$2" type veth peer name "$5" netns "$4"
    ip -n "$1" addr add "$3" dev "$2"; ip -n "$1" link set "$2" up
    ip -n "$4" addr add "$6" dev "$5"; ip -n "$4" link set "$5" up
}

space() {
    ip netns add "$1" && ip -n "$1" link set lo up
    ip netns exec "$1" sysctl -qw net.ipv4.ip_forward="$2"
}

# translate NS KIND HOST: the rules of one translator whose outer interface is called wan.
translate() {
    local how="masquerade" inward=""
    [ "${2%+map}" = symmetric ] && how="masquerade random,fully-random"
    # A full cone passes everything that comes for a port on to the host that used it; with one host, every port is its.
    [ "$2" = full-cone ] && inward="iifname \"wan\" meta l4proto udp dnat to $3"
    [ "$2" != "${2%+map}" ] && inward="iifname \"wan\" meta l4proto udp dnat ip to udp dport map @mapped"
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

# side NET SIDE KIND: a host behind a translator of this kind, behind the one of side a, or on the open internet.
side() {
    local host="$1-$2" box="$1-$2n" number=$([ "$2" = a ] && echo 1 || echo 2)
    space "$host" 0
    if [ "$3" = shared ]; then
        inside "$1-an" "$host" 1 3
        return
    fi
    if [ "$3" = open ]; then
        cable "$1-net" "to-$2" "198.51.10$number.1/24" "$host" wan "198.51.10$number.2/24"
        ip -n "$host" route add default via "198.51.10$number.1"
        return
    fi
    space "$box" 1
    cable "$1-net" "to-$2" "198.51.10$number.1/24" "$box" wan "198.51.10$number.2/24"
    ip -n "$box" route add default via "198.51.10$number.1"
    ip -n "$box" link add lan type bridge
    ip -n "$box" addr add "10.0.$number.1/24" dev lan; ip -n "$box" link set lan up
    inside "$box" "$host" "$number" 2
    translate "$box" "$3" "10.0.$number.2"
    [ "$3" = "${3%+map}" ] || map_ports "$box" "198.51.10$number.2" "$work/$1-$2"
}

# map_ports BOX OUTER-ADDRESS LOG: has the router map ports, by our own example or by a real one.
map_ports() {
    if [ -z "${MINIUPNPD:-}" ]; then
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
enable_upnp=$([ "$MINIUPNPD" = upnp ] && echo yes || echo no)
enable_natpmp=$([ "$MINIUPNPD" = upnp ] && echo no || echo yes)
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

# inside BOX HOST NETWORK NUMBER: plugs a host into the local network of a translator.
inside() {
    ip -n "$1" link add "lan$4" type veth peer name eth netns "$2"
    ip -n "$1" link set "lan$4" master lan up
    ip -n "$2" addr add "10.0.$3.$4/24" dev eth; ip -n "$2" link set eth up
    ip -n "$2" route add default via "10.0.$3.1"
}

# pair KIND-A KIND-B NUMBER: builds the networks and starts the peers. `a` comes first, so `b` hears of it and dials.
pair() {
    local net="$id-$3" more_a="" more_b=""
    space "$net-net" 1
    ip -n "$net-net" addr add 203.0.113.1/32 dev lo
    ip -n "$net-net" addr add 203.0.113.2/32 dev lo
    side "$net" a "$1"
    side "$net" b "$2"
    [ "$1" != "${1%+map}" ] && more_a=--port-map
    [ "$2" != "${2%+map}" ] && more_b=--port-map
    local log="$work/$3"
    start "$net-net" "$log.c" --secret 1 --listen 203.0.113.1:4000 --relay
    start "$net-net" "$log.d" --secret 2 --listen 203.0.113.2:4000 --bootstrap 203.0.113.1:4000
    start "$net-a" "$log.a" --secret 3 --listen 0.0.0.0:4001 --bootstrap 203.0.113.1:4000 --bootstrap 203.0.113.2:4000 $more_a
    sleep 1
    start "$net-b" "$log.b" --secret 4 --listen 0.0.0.0:4002 --bootstrap 203.0.113.1:4000 --bootstrap 203.0.113.2:4000 $more_b
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

# How far a router's work got: mapped, renewed before its four seconds were up, and removed when the peer left.
mapping() {
    local log="$work/$id-$1.router"
    [ -e "$log" ] || return 0
    local times=$(grep -c '^mapped' "$log") gone=$(grep -c '^removed' "$log")
    [ "$times" -ge 2 ] && [ "$gone" = 1 ] && echo "mapped" || { echo "mapped $times times, removed $gone"; return 1; }
}

# How long B took to a straight way to A, from its start; to any way, if there is no straight one.
after() {
    sed -n 's/.*"from":4,"to":3,.*"after_ms":\([0-9]*\).*/\1 ms/p' "$work/$1.b.out"
}

number=0
for both in "${pairs[@]}"; do pair "${both%/*}" "${both#*/}" $number; number=$((number + 1)); done
wait "${pids[@]}" 2>/dev/null
[ -n "${VERBOSE:-}" ] && cat "$work"/*.[ab].out; [ -n "${VERBOSE:-}" ] && cat "$work"/*.router "$work"/*.miniupnpd "$work"/*.[ab].err 2>/dev/null

# What theory says the weakest acceptable outcome is: two translators of which one is symmetric and the other looks at ports
# leave only the relay; everything else goes straight.
number=0 missed=0
printf '%-20s %-16s %-9s %-8s %s\n' "a" "b" "outcome" "after" "a's mapping"
for both in "${pairs[@]}"; do
    a=${both%/*} b=${both#*/}
    got=$(outcome $number)
    mapping=$(sed -n 's/.*"mapping":"\(.*\)"}/\1/p' "$work/$number.a.out" | head -1)
    printf '%-20s %-16s %-9s %-8s %s\n' "$a" "$b" "$got" "$(after $number)" "$mapping"
    case "$both" in
        symmetric/symmetric|symmetric/port-restricted|port-restricted/symmetric) want="relayed";;
        */shared) want="direct";;
        *) want="direct punched";;
    esac
    case " $want " in *" $got "*) ;; *) missed=$((missed + 1)); echo "  expected: $want"; [ -n "${VERBOSE:-}" ] && cat "$work/$number".*.err;; esac
    for side in a b; do
        said=$(mapping "$number-$side") || { missed=$((missed + 1)); echo "  expected a port that is mapped, renewed, removed: $said"; cat "$work/$number.$side.err"; }
    done
    number=$((number + 1))
done
[ $missed = 0 ] && echo "all $number pairs as expected" || { echo "$missed of $number pairs not as expected"; exit 1; }
