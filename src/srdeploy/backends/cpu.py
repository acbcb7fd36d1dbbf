"""What the processor can do."""

from srdeploy.environment import cpu_flags


def features() -> frozenset[str]:
    """See environment.cpu_flags."""
    return cpu_flags()


def is_fast_int8() -> bool:
    """Whether the processor multiplies bytes and sums them in one instruction (VNNI, dot product, AMX)."""
    return bool(features() & {"avx512_vnni", "avx_vnni", "amx_int8", "asimddp", "i8mm"})


def is_fast_bf16() -> bool:
    """Whether bf16 is faster than fp32: with AMX. AVX-512's bf16 alone measured slower than fp32."""
    return "amx_bf16" in features()
