using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using System.Text;

namespace Edge.Cloud.CloudHub.Certificates;

/// <summary>The CAs of one cloud: the one that issues, and after a rollover the one before it, which is still trusted.</summary>
/// <remarks>Safe for concurrent calls; never changes.</remarks>
internal sealed class AuthoritySet : IDisposable
{
    /// <summary>What <see cref="Refuse"/> says of a certificate of another CA.</summary>
    public const string UnknownIssuer = "it was not issued by a CA of this cloud";

    private readonly TrustedAuthority[] _trusted;
    private readonly string[] _former;

    /// <param name="active">The CA that issues; disposed with this.</param>
    /// <param name="former">CAs that are trusted and issue no longer.</param>
    /// <param name="crossed">The active CA's certificate as signed by a former one, for the chain that the server presents.</param>
    /// <exception cref="CryptographicException">A CA's key is not ECDSA.</exception>
    public AuthoritySet(CertificateAuthority active, IReadOnlyList<X509Certificate2> former, IReadOnlyList<X509Certificate2> crossed)
    {
        Active = active;
        Former = former;
        Crossed = crossed;
        _trusted = [new TrustedAuthority(active.Certificate), .. former.Select(one => new TrustedAuthority(one))];
        _former = [.. _trusted.Skip(1).Select(one => one.Id)];
        Bundle = Encoding.ASCII.GetBytes(string.Concat(_trusted.Select(one => one.Pem)));
        Stamp = Convert.ToHexString(SHA256.HashData([.. Bundle, .. crossed.SelectMany(one => one.RawData)]));
    }

    public CertificateAuthority Active { get; }

    public IReadOnlyList<X509Certificate2> Former { get; }

    public IReadOnlyList<X509Certificate2> Crossed { get; }

    /// <summary>All trusted CA certificates in PEM, the active one first.</summary>
    public byte[] Bundle { get; }

    /// <summary>Differs when any certificate differs.</summary>
    public string Stamp { get; }

    /// <summary>The reason why a token cannot be used, or its claims.</summary>
    public TokenClaims? TryReadToken(string jwt, out string error) => JoinToken.TryRead(jwt, Active.KeyDer, Active.CertificateDer, _former, out error);

    /// <summary>Null when <paramref name="client"/> was issued by one of the CAs, is in its lifetime at <paramref name="now"/> and may identify a
    /// client; else the reason.</summary>
    /// <param name="byFormer">Whether the CA that issued it issues no longer.</param>
    public string? Refuse(X509Certificate2 client, DateTimeOffset now, out bool byFormer)
    {
        byFormer = false;
        var at = Array.FindIndex(_trusted, one => one.Issued(client));
        if (at < 0)
            return UnknownIssuer;
        byFormer = at > 0;
        if (client.NotBefore.ToUniversalTime() > now)
            return $"it is valid only from {client.NotBefore.ToUniversalTime():yyyy-MM-dd'T'HH:mm:ss'Z'}";
        if (client.NotAfter.ToUniversalTime() <= now)
            return $"it expired at {client.NotAfter.ToUniversalTime():yyyy-MM-dd'T'HH:mm:ss'Z'}";
        foreach (var extension in client.Extensions)
        {
            if (extension is not X509EnhancedKeyUsageExtension usages)
                continue;
            foreach (var usage in usages.EnhancedKeyUsages)
            {
                if (usage.Value == CertificateAuthority.ClientAuth)
                    return null;
            }

            return "it may not identify a client (extended key usage)";
        }

        // Without the extension a certificate holds for every purpose (RFC 5280 §4.2.1.12).
        return null;
    }

    /// <summary>Whether <paramref name="server"/> is a cloudcore's serving certificate: issued by one of the CAs, in its lifetime, for a server, and not a node's.</summary>
    public bool IsServer(X509Certificate2 server, DateTimeOffset now)
        => Array.Exists(_trusted, one => one.Issued(server)) && server.NotBefore.ToUniversalTime() <= now && server.NotAfter.ToUniversalTime() > now && NodeName.Of(server) is null
            && server.Extensions.OfType<X509EnhancedKeyUsageExtension>().Any(one => one.EnhancedKeyUsages.OfType<Oid>().Any(usage => usage.Value == CertificateAuthority.ServerAuth));

    public void Dispose()
    {
        Active.Dispose();
        foreach (var one in _trusted)
            one.Dispose();
        foreach (var one in Former.Concat(Crossed))
            one.Dispose();
    }
}
