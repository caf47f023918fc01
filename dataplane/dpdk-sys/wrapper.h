/* What Tandem uses of DPDK, and nothing else.
 *
 * Functions and types are picked from these headers by the allowlist in build.rs. Below are the few things
 * bindgen cannot see by itself: thread-local rte_errno, constants made by function-like macros, and field
 * offsets of struct rte_mbuf. The offsets are computed here, by the compiler, from the installed headers:
 * rte_mbuf's anonymous unions are arranged differently from one DPDK release to the next, so their generated
 * Rust names are not something to build on.
 */
#include <stddef.h>
#include <stdio.h>

#include <rte_version.h>
#include <rte_errno.h>
#include <rte_eal.h>
#include <rte_lcore.h>
#include <rte_cycles.h>
#include <rte_prefetch.h>
#include <rte_malloc.h>
#include <rte_memzone.h>
#include <rte_dev.h>
#include <rte_mempool.h>
#include <rte_mbuf.h>
#include <rte_mbuf_dyn.h>
#include <rte_mbuf_pool_ops.h>
#include <rte_ring.h>
#include <rte_ethdev.h>
#include <rte_fib.h>
#include <rte_fib6.h>
#include <rte_acl.h>

/** rte_errno is a thread-local macro; this reads it on the calling thread. */
static inline int dpdk_sys_errno(void) { return rte_errno; }

/** Puts back what `lcore` holds in `pool`'s cache. Call on that lcore, or after it has gone. */
static inline void dpdk_sys_mempool_flush(struct rte_mempool *pool, unsigned int lcore) {
	struct rte_mempool_cache *cache = rte_mempool_default_cache(pool, lcore);
	if (cache != NULL)
		rte_mempool_cache_flush(cache, pool);
}

/**
 * rte_pktmbuf_pool_create, but with the buffers side by side in one piece of memory where addresses for devices are virtual
 * ones. DPDK leaves a gap before each page border that a buffer would cross, and net_af_xdp (22.11) gives the kernel a
 * region of "number of buffers times size of one" from the first buffer on: the buffers behind its end are lost when they
 * are used, one by one, and receiving stops for good. With 4 KiB pages that is a third of them.
 */
static inline struct rte_mempool *dpdk_sys_pktmbuf_pool_create(const char *name, unsigned int n, unsigned int cache,
		uint16_t priv_size, uint16_t data_room_size, int socket) {
	struct rte_pktmbuf_pool_private priv = {
		.mbuf_data_room_size = data_room_size,
		.mbuf_priv_size = priv_size,
	};
	struct rte_mempool *pool;
	const struct rte_memzone *zone = NULL;
	char zone_name[RTE_MEMZONE_NAMESIZE];
	const unsigned int flags = RTE_MEMPOOL_F_NO_IOVA_CONTIG;
	const uint32_t element = sizeof(struct rte_mbuf) + priv_size + data_room_size;
	size_t size;
	int result;

	if (rte_eal_iova_mode() != RTE_IOVA_VA)
		return rte_pktmbuf_pool_create(name, n, cache, priv_size, data_room_size, socket);
	result = snprintf(zone_name, sizeof(zone_name), "PB_%s", name);
	if (result < 0 || (size_t)result >= sizeof(zone_name)) {
		rte_errno = ENAMETOOLONG;
		return NULL;
	}
	/* The flag says "no gaps"; device addresses are in one piece all the same, since they are the virtual ones. */
	pool = rte_mempool_create_empty(name, n, element, cache, sizeof(priv), socket, flags);
	if (pool == NULL)
		return NULL;
	result = rte_mempool_set_ops_byname(pool, rte_mbuf_best_mempool_ops(), NULL);
	if (result != 0)
		goto fail;
	rte_pktmbuf_pool_init(pool, &priv);
	size = (size_t)n * rte_mempool_calc_obj_size(element, flags, NULL) + RTE_MEMPOOL_ALIGN;
	zone = rte_memzone_reserve_aligned(zone_name, size, socket, RTE_MEMZONE_IOVA_CONTIG, RTE_MEMPOOL_ALIGN);
	if (zone == NULL) {
		result = -rte_errno;
		goto fail;
	}
	result = rte_mempool_populate_iova(pool, (char *)zone->addr, zone->iova, zone->len, NULL, NULL);
	if (result >= 0 && (unsigned int)result != n)
		result = -ENOMEM;
	if (result < 0)
		goto fail;
	rte_mempool_obj_iter(pool, rte_pktmbuf_init, NULL);
	return pool;
fail:
	rte_mempool_free(pool);
	if (zone != NULL)
		rte_memzone_free(zone);
	rte_errno = -result;
	return NULL;
}

/** A link state without struct rte_eth_link, whose bit fields were moved into a union in later releases. */
struct dpdk_sys_link {
	uint32_t speed_mbps;
	uint8_t up;
	uint8_t full_duplex;
};

static inline int dpdk_sys_link_get(uint16_t port, struct dpdk_sys_link *out) {
	struct rte_eth_link link;
	int result = rte_eth_link_get_nowait(port, &link);
	if (result == 0) {
		out->speed_mbps = link.link_speed;
		out->up = link.link_status == RTE_ETH_LINK_UP;
		out->full_duplex = link.link_duplex == RTE_ETH_LINK_FULL_DUPLEX;
	}
	return result;
}

/** Offsets in bytes inside struct rte_mbuf, and shifts inside its tx_offload word. */
enum dpdk_sys_mbuf {
	DPDK_SYS_MBUF_SIZE = sizeof(struct rte_mbuf),
	DPDK_SYS_MBUF_BUF_ADDR = offsetof(struct rte_mbuf, buf_addr),
	DPDK_SYS_MBUF_DATA_OFF = offsetof(struct rte_mbuf, data_off),
	DPDK_SYS_MBUF_REFCNT = offsetof(struct rte_mbuf, refcnt),
	DPDK_SYS_MBUF_NB_SEGS = offsetof(struct rte_mbuf, nb_segs),
	DPDK_SYS_MBUF_PORT = offsetof(struct rte_mbuf, port),
	DPDK_SYS_MBUF_OL_FLAGS = offsetof(struct rte_mbuf, ol_flags),
	DPDK_SYS_MBUF_PACKET_TYPE = offsetof(struct rte_mbuf, packet_type),
	DPDK_SYS_MBUF_PKT_LEN = offsetof(struct rte_mbuf, pkt_len),
	DPDK_SYS_MBUF_DATA_LEN = offsetof(struct rte_mbuf, data_len),
	DPDK_SYS_MBUF_VLAN_TCI = offsetof(struct rte_mbuf, vlan_tci),
	DPDK_SYS_MBUF_RSS = offsetof(struct rte_mbuf, hash.rss),
	DPDK_SYS_MBUF_BUF_LEN = offsetof(struct rte_mbuf, buf_len),
	DPDK_SYS_MBUF_NEXT = offsetof(struct rte_mbuf, next),
	DPDK_SYS_MBUF_TX_OFFLOAD = offsetof(struct rte_mbuf, tx_offload),
	DPDK_SYS_MBUF_PRIV_SIZE = offsetof(struct rte_mbuf, priv_size),
	DPDK_SYS_MBUF_L2_LEN_SHIFT = RTE_MBUF_L2_LEN_OFS,
	DPDK_SYS_MBUF_L2_LEN_BITS = RTE_MBUF_L2_LEN_BITS,
	DPDK_SYS_MBUF_L3_LEN_SHIFT = RTE_MBUF_L3_LEN_OFS,
	DPDK_SYS_MBUF_L3_LEN_BITS = RTE_MBUF_L3_LEN_BITS,
	DPDK_SYS_MBUF_HEADROOM = RTE_PKTMBUF_HEADROOM,
};

#define FIELD_IS(field, type) \
	_Static_assert(__builtin_types_compatible_p(__typeof__(((struct rte_mbuf *)0)->field), type), #field)
FIELD_IS(buf_addr, void *);
FIELD_IS(data_off, uint16_t);
FIELD_IS(refcnt, uint16_t);
FIELD_IS(nb_segs, uint16_t);
FIELD_IS(port, uint16_t);
FIELD_IS(ol_flags, uint64_t);
FIELD_IS(packet_type, uint32_t);
FIELD_IS(pkt_len, uint32_t);
FIELD_IS(data_len, uint16_t);
FIELD_IS(vlan_tci, uint16_t);
FIELD_IS(hash.rss, uint32_t);
FIELD_IS(buf_len, uint16_t);
FIELD_IS(next, struct rte_mbuf *);
FIELD_IS(tx_offload, uint64_t);
FIELD_IS(priv_size, uint16_t);

/** 64-bit constants whose macros bindgen does not expand: SYS_X carries the value of RTE_X. */
#define U64(name) static const uint64_t SYS_##name = RTE_##name
U64(MBUF_F_RX_VLAN);
U64(MBUF_F_RX_VLAN_STRIPPED);
U64(MBUF_F_RX_RSS_HASH);
U64(MBUF_F_RX_IP_CKSUM_MASK);
U64(MBUF_F_RX_IP_CKSUM_BAD);
U64(MBUF_F_RX_IP_CKSUM_GOOD);
U64(MBUF_F_RX_L4_CKSUM_MASK);
U64(MBUF_F_RX_L4_CKSUM_BAD);
U64(MBUF_F_RX_L4_CKSUM_GOOD);
U64(MBUF_F_TX_OFFLOAD_MASK);
U64(MBUF_F_TX_L4_MASK);
U64(MBUF_F_TX_TCP_CKSUM);
U64(MBUF_F_TX_UDP_CKSUM);
U64(MBUF_F_TX_SCTP_CKSUM);
U64(MBUF_F_TX_IP_CKSUM);
U64(MBUF_F_TX_IPV4);
U64(MBUF_F_TX_IPV6);
U64(MBUF_F_TX_VLAN);
U64(MBUF_F_LAST_FREE);
U64(ETH_RX_OFFLOAD_VLAN_STRIP);
U64(ETH_RX_OFFLOAD_IPV4_CKSUM);
U64(ETH_RX_OFFLOAD_UDP_CKSUM);
U64(ETH_RX_OFFLOAD_TCP_CKSUM);
U64(ETH_RX_OFFLOAD_SCTP_CKSUM);
U64(ETH_RX_OFFLOAD_SCATTER);
U64(ETH_RX_OFFLOAD_RSS_HASH);
U64(ETH_TX_OFFLOAD_VLAN_INSERT);
U64(ETH_TX_OFFLOAD_IPV4_CKSUM);
U64(ETH_TX_OFFLOAD_UDP_CKSUM);
U64(ETH_TX_OFFLOAD_TCP_CKSUM);
U64(ETH_TX_OFFLOAD_SCTP_CKSUM);
U64(ETH_TX_OFFLOAD_MULTI_SEGS);
U64(ETH_RSS_IPV4);
U64(ETH_RSS_FRAG_IPV4);
U64(ETH_RSS_NONFRAG_IPV4_TCP);
U64(ETH_RSS_NONFRAG_IPV4_UDP);
U64(ETH_RSS_NONFRAG_IPV4_SCTP);
U64(ETH_RSS_NONFRAG_IPV4_OTHER);
U64(ETH_RSS_IPV6);
U64(ETH_RSS_FRAG_IPV6);
U64(ETH_RSS_NONFRAG_IPV6_TCP);
U64(ETH_RSS_NONFRAG_IPV6_UDP);
U64(ETH_RSS_NONFRAG_IPV6_SCTP);
U64(ETH_RSS_NONFRAG_IPV6_OTHER);
U64(ETH_RSS_L3_DST_ONLY);
U64(ETH_RSS_L4_SRC_ONLY);
U64(ETH_RSS_L4_DST_ONLY);

/** Bit 63: bindgen evaluates constants as signed, so the sign is all it can carry. Cast to u64 in Rust. */
static const int64_t SYS_ETH_RSS_L3_SRC_ONLY = (int64_t)RTE_ETH_RSS_L3_SRC_ONLY;

static const uint32_t SYS_RING_F_SP_ENQ = RING_F_SP_ENQ;
static const uint32_t SYS_RING_F_SC_DEQ = RING_F_SC_DEQ;
static const uint32_t SYS_LCORE_ID_ANY = LCORE_ID_ANY;
static const uint16_t SYS_ETH_MAX_PORTS = RTE_MAX_ETHPORTS;
static const uint32_t SYS_ETH_SPEED_NUM_UNKNOWN = RTE_ETH_SPEED_NUM_UNKNOWN;
