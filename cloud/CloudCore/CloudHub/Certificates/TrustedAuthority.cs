using System.Collections.Concurrent;
using System.Formats.Asn1;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;

namespace Edge.Cloud.CloudHub.Certificates;

/// <summary>The public half of one CA: says whether it issued a certificate, without building a chain.</summary>
/// <remarks>Safe for concurrent calls. One check is one ECDSA verification; it allocates no more than the certificate's own decoded fields.</remarks>
internal sealed class TrustedAuthority : IDisposable
{
    // id-ecPublicKey signatures (RFC 5758 §3.2), as OBJECT IDENTIFIER content.
    private static ReadOnlySpan<byte> EcdsaWithSha256 => [0x2A, 0x86, 0x48, 0xCE, 0x3D, 0x04, 0x03, 0x02];

    private static ReadOnlySpan<byte> EcdsaWithSha384 => [0x2A, 0x86, 0x48, 0xCE, 0x3D, 0x04, 0x03, 0x03];

    private static ReadOnlySpan<byte> EcdsaWithSha512 => [0x2A, 0x86, 0x48, 0xCE, 0x3D, 0x04, 0x03, 0x04];

    // An ECDsa object is for one thread at a time; as many are kept as were ever in use at once.
    private readonly ConcurrentBag<ECDsa> _keys = [];
    private readonly byte[] _publicKey;
    private readonly byte[] _subject;

    /// <exception cref="CryptographicException">The CA's key is not ECDSA.</exception>
    public TrustedAuthority(X509Certificate2 certificate)
    {
        using var key = certificate.GetECDsaPublicKey() ?? throw new CryptographicException($"the CA '{certificate.Subject}' has no ECDSA key");
        _publicKey = key.ExportSubjectPublicKeyInfo();
        _subject = certificate.SubjectName.RawData;
        Pem = certificate.ExportCertificatePem() + "\n";
        Id = JoinToken.AuthorityId(certificate.RawData);
    }

    /// <summary>The first 16 hex digits of the SHA-256 of its certificate.</summary>
    public string Id { get; }

    public string Pem { get; }

    /// <summary>Whether <paramref name="certificate"/> carries this CA's name as issuer and a signature of its key. Says nothing about time or purpose.</summary>
    public bool Issued(X509Certificate2 certificate)
    {
        if (!certificate.IssuerName.RawData.AsSpan().SequenceEqual(_subject))
            return false;
        if (!TrySplit(certificate.RawDataMemory.Span, out var signed, out var hash, out var signature))
            return false;
        if (!_keys.TryTake(out var key))
        {
            key = ECDsa.Create();
            key.ImportSubjectPublicKeyInfo(_publicKey, out _);
        }

        try
        {
            return key.VerifyData(signed, signature, hash, DSASignatureFormat.Rfc3279DerSequence);
        }
        catch (CryptographicException)
        {
            // A signature that is no DER sequence of two integers.
            return false;
        }
        finally
        {
            _keys.Add(key);
        }
    }

    public void Dispose()
    {
        while (_keys.TryTake(out var key))
            key.Dispose();
    }

    // Certificate ::= SEQUENCE { tbsCertificate, signatureAlgorithm, signatureValue BIT STRING } (RFC 5280 §4.1).
    private static bool TrySplit(ReadOnlySpan<byte> der, out ReadOnlySpan<byte> signed, out HashAlgorithmName hash, out ReadOnlySpan<byte> signature)
    {
        signed = signature = default;
        hash = default;
        try
        {
            AsnDecoder.ReadSequence(der, AsnEncodingRules.DER, out var at, out var length, out _);
            var rest = der.Slice(at, length);
            AsnDecoder.ReadSequence(rest, AsnEncodingRules.DER, out at, out length, out var whole);
            signed = rest[..whole];
            var inside = rest.Slice(at, length);
            rest = rest[whole..];
            AsnDecoder.ReadSequence(rest, AsnEncodingRules.DER, out at, out length, out whole);
            var algorithm = rest[..whole];
            var named = rest.Slice(at, length);
            rest = rest[whole..];
            if (!AsnDecoder.TryReadPrimitiveBitString(rest, AsnEncodingRules.DER, out var unused, out signature, out _) || unused != 0)
                return false;
            // The algorithm stands in the signed part too, after [0] version and serial, and must be the same (RFC 5280 §4.1.1.2).
            AsnDecoder.ReadEncodedValue(inside, AsnEncodingRules.DER, out _, out _, out whole);
            inside = inside[whole..];
            AsnDecoder.ReadEncodedValue(inside, AsnEncodingRules.DER, out _, out _, out whole);
            inside = inside[whole..];
            if (!inside.StartsWith(algorithm))
                return false;
            AsnDecoder.ReadEncodedValue(named, AsnEncodingRules.DER, out at, out length, out _);
            var oid = named.Slice(at, length);
            hash = oid.SequenceEqual(EcdsaWithSha256) ? HashAlgorithmName.SHA256
                : oid.SequenceEqual(EcdsaWithSha384) ? HashAlgorithmName.SHA384
                : oid.SequenceEqual(EcdsaWithSha512) ? HashAlgorithmName.SHA512
                : default;
            return hash.Name is not null;
        }
        catch (AsnContentException)
        {
            return false;
        }
    }
}
