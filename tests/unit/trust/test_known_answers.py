"""AES-256-GCM, HPKE and ECDSA give the answers that those who specified them published."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from support.plain_sealed import HALF_OF_P256, hpke_open, key_and_nonce
from tasuki.trust.sealing import SUITE, TAG_BYTES
from tasuki.trust.signing import is_signature, public_key

ORDER = 2 * HALF_OF_P256 + 1


@dataclass(frozen=True, kw_only=True)
class Gcm:
    """`pt`: None if it must not decrypt."""

    place: str
    key: str
    iv: str
    aad: str
    ct: str
    tag: str
    pt: str | None


@dataclass(frozen=True, kw_only=True)
class Ecdsa:
    why: str
    msg: str
    x: str
    y: str
    r: str
    s: str
    is_good: bool


# NIST CAVP, gcmtestvectors.zip, gcmDecrypt256.rsp (CAVS 14.0): IVlen 96, Taglen 128.
GCM = [
    Gcm(
        place="PTlen 104, AADlen 0, Count 1",
        key="a71dac1377a3bf5d7fb1b5e36bee70d2e01de2a84a1c1009ba7448f7f26131dc",
        iv="c5b60dda3f333b1146e9da7c",
        aad="",
        ct="43af49ec1ae3738a20755034d6",
        tag="6f80b6ef2d8830a55eb63680a8dff9e0",
        pt="5b87141335f2becac1a559e05f",
    ),
    Gcm(
        place="PTlen 104, AADlen 0, Count 0",
        key="8b37c4b8cf634704920059866ad96c49e9da502c63fca4a3a7a4dcec74cb0610",
        iv="cb59344d2b06c4ae57cd0ea4",
        aad="",
        ct="66ab935c93555e786b775637a3",
        tag="d8733acbb564d8afaa99d7ca2e2f92a9",
        pt=None,
    ),
    Gcm(
        place="PTlen 128, AADlen 128, Count 0",
        key="54e352ea1d84bfe64a1011096111fbe7668ad2203d902a01458c3bbd85bfce14",
        iv="df7c3bca00396d0c018495d9",
        aad="7e968d71b50c1f11fd001f3fef49d045",
        ct="426e0efc693b7be1f3018db7ddbb7e4d",
        tag="ee8257795be6a1164d7e1d2d6cac77a7",
        pt="85fc3dfad9b5a8d3258e4fc44571bd3b",
    ),
    Gcm(
        place="PTlen 128, AADlen 128, Count 2",
        key="9a0343f850a6427120f764789ffec6d237447b898fbf51d2182f065d3861497d",
        iv="3deef6f453dd70d92143adcd",
        aad="dbb8226a624520863db6897017b2a4f8",
        ct="e93165935ac18e3a2845d15fe31a9286",
        tag="f5fc50d18766bc3d9e16dd136d45816b",
        pt=None,
    ),
    Gcm(
        place="PTlen 256, AADlen 160, Count 0",
        key="c70fcbba915478f66315a15ffc3b11d92c24cbf213cc858f8740713ed9493182",
        iv="5b413f5dbfccc6a7c65ff5c4",
        aad="ee7b3521f1363c1fcbbb24c2c65f7ecee99d457c",
        ct="2ab2d676861b2281d3f740f637c997e25569ec7352e1767ce4c4c9ed5a6ab15a",
        tag="9a4a3febec6413d461f26364b51237f3",
        pt="f135e924c57ca538f72c700fb0c9c103a70fc1935797cfe08024397f1c1a8277",
    ),
    Gcm(
        place="PTlen 256, AADlen 160, Count 1",
        key="c444d2bc6b0f14b306d7afbf9b0c84d9f2fcd2730df6d656402a184143a4eeb1",
        iv="89a840f9fede6fb08cce158e",
        aad="aaade9efaed6435e3130b9c36d8a82d201cce2a8",
        ct="ff15d0cdaf9b5390018a881a759183ae5cf702b9550cac2de78ad2c6d0da5af1",
        tag="8655bd8d3213f0873d530c326a2fc15c",
        pt=None,
    ),
    Gcm(
        place="PTlen 408, AADlen 160, Count 2",
        key="6450d4501b1e6cfbe172c4c8570363e96b496591b842661c28c2f6c908379cad",
        iv="7e4262035e0bf3d60e91668a",
        aad="f1c522f026e4c5d43851da516a1b78768ab18171",
        ct=(
            "5a99b336fd3cfd82f10fb08f7045012415f0d9a06bb92dcf59c6f0dbe62d433671aacb8a1c52ce7bbf6a"
            "ea372bf51e2ba79406"
        ),
        tag="fe93b01636f7bb0458041f213e98de65",
        pt=(
            "17449e236ef5858f6d891412495ead4607bfae2a2d735182a2a0242f9d52fc5345ef912dbe16f3bb4576"
            "fe3bcafe336dee6085"
        ),
    ),
    Gcm(
        place="PTlen 408, AADlen 160, Count 0",
        key="e9d381a9c413bee66175d5586a189836e5c20f5583535ab4d3f3e612dc21700e",
        iv="23e81571da1c7821c681c7ca",
        aad="6f39c9ae7b8e8a58a95f0dd8ea6a9087cbccdfd6",
        ct=(
            "a25f3f580306cd5065d22a6b7e9660110af7204bb77d370f7f34bee547feeff7b32a596fce29c9040e68"
            "b1589aad48da881990"
        ),
        tag="5b6dcd70eefb0892fab1539298b92a4b",
        pt=None,
    ),
]

# NIST CAVP, 186-3ecdsatestvectors.zip, SigVer.rsp, [P-256,SHA-256]; and RFC 6979.
ECDSA = [
    Ecdsa(
        why="P (0 )",
        msg=(
            "e1130af6a38ccb412a9c8d13e15dbfc9e69a16385af3c3f1e5da954fd5e7c45fd75e2b8c36699228e928"
            "40c0562fbf3772f07e17f1add56588dd45f7450e1217ad239922dd9c32695dc71ff2424ca0dec1321aa4"
            "7064a044b7fe3c2b97d03ce470a592304c5ef21eed9f93da56bb232d1eeb0035f9bf0dfafdcc4606272b"
            "20a3"
        ),
        x="e424dc61d4bb3cb7ef4344a7f8957a0c5134e16f7a67c074f82e6e12f49abf3c",
        y="970eed7aa2bc48651545949de1dddaf0127e5965ac85d1243d6f60e7dfaee927",
        r="bf96b99aa49c705c910be33142017c642ff540c76349b9dab72f981fd9347f4f",
        s="17c55095819089c2e03b9cd415abdf12444e323075d98f31920b9e0f57ec871c",
        is_good=True,
    ),
    Ecdsa(
        why="P (0 )",
        msg=(
            "73c5f6a67456ae48209b5f85d1e7de7758bf235300c6ae2bdceb1dcb27a7730fb68c950b7fcada0ecc46"
            "61d3578230f225a875e69aaa17f1e71c6be5c831f22663bac63d0c7a9635edb0043ff8c6f26470f02a7b"
            "c56556f1437f06dfa27b487a6c4290d8bad38d4879b334e341ba092dde4e4ae694a9c09302e2dbf44358"
            "1c08"
        ),
        x="e0fc6a6f50e1c57475673ee54e3a57f9a49f3328e743bf52f335e3eeaa3d2864",
        y="7f59d689c91e463607d9194d99faf316e25432870816dde63f5d4b373f12f22a",
        r="1d75830cd36f4c9aa181b2c4221e87f176b7f05b7c87824e82e396c88315c407",
        s="cb2acb01dac96efc53a32d4a0d85d0c2e48955214783ecf50a4f0414a319c05a",
        is_good=True,
    ),
    Ecdsa(
        why="P (0 )",
        msg=(
            "60cd64b2cd2be6c33859b94875120361a24085f3765cb8b2bf11e026fa9d8855dbe435acf7882e84f3c7"
            "857f96e2baab4d9afe4588e4a82e17a78827bfdb5ddbd1c211fbc2e6d884cddd7cb9d90d5bf4a7311b83"
            "f352508033812c776a0e00c003c7e0d628e50736c7512df0acfa9f2320bd102229f46495ae6d0857cc45"
            "2a84"
        ),
        x="2d98ea01f754d34bbc3003df5050200abf445ec728556d7ed7d5c54c55552b6d",
        y="9b52672742d637a32add056dfd6d8792f2a33c2e69dafabea09b960bc61e230a",
        r="06108e525f845d0155bf60193222b3219c98e3d49424c2fb2a0987f825c17959",
        s="62b5cdd591e5b507e560167ba8f6f7cda74673eb315680cb89ccbc4eec477dce",
        is_good=True,
    ),
    Ecdsa(
        why="F (3 - S changed)",
        msg=(
            "e4796db5f785f207aa30d311693b3702821dff1168fd2e04c0836825aefd850d9aa60326d88cde1a23c7"
            "745351392ca2288d632c264f197d05cd424a30336c19fd09bb229654f0222fcb881a4b35c290a093ac15"
            "9ce13409111ff0358411133c24f5b8e2090d6db6558afc36f06ca1f6ef779785adba68db27a409859fc4"
            "c4a0"
        ),
        x="87f8f2b218f49845f6f10eec3877136269f5c1a54736dbdf69f89940cad41555",
        y="e15f369036f49842fac7a86c8a2b0557609776814448b8f5e84aa9f4395205e9",
        r="d19ff48b324915576416097d2544f7cbdf8768b1454ad20e0baac50e211f23b0",
        s="a3e81e59311cdfff2d4784949f7a2cb50ba6c3a91fa54710568e61aca3e847c6",
        is_good=False,
    ),
    Ecdsa(
        why="F (2 - R changed)",
        msg=(
            "069a6e6b93dfee6df6ef6997cd80dd2182c36653cef10c655d524585655462d683877f95ecc6d6c81623"
            "d8fac4e900ed0019964094e7de91f1481989ae1873004565789cbf5dc56c62aedc63f62f3b894c9c6f77"
            "88c8ecaadc9bd0e81ad91b2b3569ea12260e93924fdddd3972af5273198f5efda0746219475017557616"
            "170e"
        ),
        x="5cf02a00d205bdfee2016f7421807fc38ae69e6b7ccd064ee689fc1a94a9f7d2",
        y="ec530ce3cc5c9d1af463f264d685afe2b4db4b5828d7e61b748930f3ce622a85",
        r="dc23d130c6117fb5751201455e99f36f59aba1a6a21cf2d0e7481a97451d6693",
        s="d6ce7708c18dbf35d4f8aa7240922dc6823f2e7058cbc1484fcad1599db5018c",
        is_good=False,
    ),
    Ecdsa(
        why="F (4 - Q changed)",
        msg=(
            "df04a346cf4d0e331a6db78cca2d456d31b0a000aa51441defdb97bbeb20b94d8d746429a393ba88840d"
            "661615e07def615a342abedfa4ce912e562af714959896858af817317a840dcff85a057bb91a3c2bf901"
            "05500362754a6dd321cdd86128cfc5f04667b57aa78c112411e42da304f1012d48cd6a7052d7de44ebcc"
            "01de"
        ),
        x="2ddfd145767883ffbb0ac003ab4a44346d08fa2570b3120dcce94562422244cb",
        y="5f70c7d11ac2b7a435ccfbbae02c3df1ea6b532cc0e9db74f93fffca7c6f9a64",
        r="9913111cff6f20c5bf453a99cd2c2019a4e749a49724a08774d14e4c113edda8",
        s="9467cd4cd21ecb56b0cab0a9a453b43386845459127a952421f5c6382866c5cc",
        is_good=False,
    ),
    Ecdsa(
        why="F (1 - Message changed)",
        msg=(
            "1669bfb657fdc62c3ddd63269787fc1c969f1850fb04c933dda063ef74a56ce13e3a649700820f0061ef"
            "abf849a85d474326c8a541d99830eea8131eaea584f22d88c353965dabcdc4bf6b55949fd529507dfb80"
            "3ab6b480cd73ca0ba00ca19c438849e2cea262a1c57d8f81cd257fb58e19dec7904da97d8386e87b8494"
            "8169"
        ),
        x="69b7667056e1e11d6caf6e45643f8b21e7a4bebda463c7fdbc13bc98efbd0214",
        y="d3f9b12eb46c7c6fda0da3fc85bc1fd831557f9abc902a3be3cb3e8be7d1aa2f",
        r="288f7a1cd391842cce21f00e6f15471c04dc182fe4b14d92dc18910879799790",
        s="247b3c4e89a3bcadfea73c7bfd361def43715fa382b8c3edf4ae15d6e55e9979",
        is_good=False,
    ),
    Ecdsa(
        why="RFC 6979, A.2.5, SHA-256, sample",
        msg="73616d706c65",
        x="60fed4ba255a9d31c961eb74c6356d68c049b8923b61fa6ce669622e60f29fb6",
        y="7903fe1008b8bc99a41ae9e95628bc64f2f1b20c2d7e9f5177a3c294d4462299",
        r="efd48b2aacb6a8fd1140dd9cd45e81d69d2c877b56aaf991c34d0ea84eaf3716",
        s="f7cb1c942d657c41d436c7a1b6e29f65f3e900dbb9aff4064dc4ab2f843acda8",
        is_good=True,
    ),
    Ecdsa(
        why="RFC 6979, A.2.5, SHA-256, test",
        msg="74657374",
        x="60fed4ba255a9d31c961eb74c6356d68c049b8923b61fa6ce669622e60f29fb6",
        y="7903fe1008b8bc99a41ae9e95628bc64f2f1b20c2d7e9f5177a3c294d4462299",
        r="f1abb023518351cd71d881567b1ea663ed3efcf6c5132b354f28d3b0b7d38367",
        s="019f4113742a2b14bd25926b49c649155f267e60d3814b4c0cc84250e46f0083",
        is_good=True,
    ),
]

# RFC 9180's test vectors, the machine-readable file: mode_base, DHKEM(X25519, HKDF-SHA256),
# HKDF-SHA256, AES-256-GCM; the first of its encryptions.
INFO = "4f6465206f6e2061204772656369616e2055726e"
PRIVATE = "497b4502664cfea5d5af0b39934dac72242a74f8480451e1aee7d6a53320333d"
ENC = "6c93e09869df3402d7bf231bf540fadd35cd56be14f97178f0954db94b7fc256"
KEY = "f50b0609186798729ed0564b36ef2ef8044f1f9d05636874d1f46c819c7a669f"
BASE_NONCE = "151d9929e2449747889bc923"
AAD = "436f756e742d30"
PT = "4265617574792069732074727574682c20747275746820626561757479"
CT = "e5d84cd531cfb583096e7cfa9641bd3079cf3a91cda813c52deb5f512be9931980a41de125a925cdad859d5b7a"


def of(text: str) -> bytes:
    return bytes.fromhex(text)


@pytest.mark.parametrize("case", GCM, ids=lambda case: case.place)
def test_aes_gcm_decrypts_as_nist_says(case: Gcm) -> None:
    """In the way in which pieces are unsealed: into a buffer."""
    aead, sealed = AESGCM(of(case.key)), of(case.ct + case.tag)
    found = bytearray(len(sealed) - TAG_BYTES)
    if case.pt is None:
        with pytest.raises(InvalidTag):
            aead.decrypt_into(of(case.iv), sealed, of(case.aad), found)
        return
    aead.decrypt_into(of(case.iv), sealed, of(case.aad), found)
    assert of(case.pt) == bytes(found)
    assert sealed == aead.encrypt(of(case.iv), of(case.pt), of(case.aad))


@pytest.mark.parametrize("case", ECDSA, ids=lambda case: case.why)
def test_signatures_are_good_or_bad_as_nist_says(case: Ecdsa) -> None:
    """With the lower of the two s that would do: with the higher one, none is taken."""
    key = public_key(of("04" + case.x + case.y))
    s = int(case.s, 16)
    for each in (min(s, ORDER - s), max(s, ORDER - s)):
        signature = of(case.r) + each.to_bytes(32, "big")
        is_taken = case.is_good and each <= HALF_OF_P256
        assert is_taken == is_signature(signature, of(case.msg), key)


def test_hpke_has_the_key_schedule_of_rfc_9180() -> None:
    assert (of(KEY), of(BASE_NONCE)) == key_and_nonce(of(ENC), of(PRIVATE), of(INFO))
    assert of(PT) == hpke_open(of(ENC + CT), of(PRIVATE), of(INFO), aad=of(AAD))


def test_our_suite_opens_what_is_encrypted_with_the_key_and_nonce_of_rfc_9180() -> None:
    """It has no associated data, so that the RFC's ciphertext itself cannot be put to it."""
    ciphertext = AESGCM(of(KEY)).encrypt(of(BASE_NONCE), of(PT), b"")
    key = X25519PrivateKey.from_private_bytes(of(PRIVATE))
    assert of(PT) == SUITE.decrypt(of(ENC) + ciphertext, key, info=of(INFO))


def test_what_our_suite_encrypts_is_hpke_by_the_letter() -> None:
    key = X25519PrivateKey.from_private_bytes(of(PRIVATE))
    wrapped = SUITE.encrypt(of(PT), key.public_key(), info=of(INFO))
    assert of(PT) == hpke_open(wrapped, of(PRIVATE), of(INFO))
