using System.Net;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using System.Text;
using System.Text.Json.Nodes;
using Edge.Kubernetes;

namespace Edge.Cloud.CloudHub.Certificates;

/// <summary>The CA, the serving certificate and the join token as Secrets of namespace <c>kubeedge</c>, under KubeEdge's names. Whoever
/// creates a Secret first has made it; all others read it, so two cloudcores that start at once share one CA.</summary>
internal sealed class CertificateStore(IKubeClient kube, TimeProvider time)
{
    public const string Namespace = "kubeedge";
    private const string TokenName = "tokensecret";
    private const string TokenKey = "tokendata";

    /// <summary>The CA from files when both are given and exist, else from the Secret <c>casecret</c>, made when there is none.</summary>
    /// <exception cref="CloudCoreException">The stored CA cannot be read.</exception>
    public async Task<CertificateAuthority> LoadAuthorityAsync(string certificateFile, string keyFile, CancellationToken cancellationToken)
    {
        if (certificateFile.Length > 0 && keyFile.Length > 0 && File.Exists(certificateFile) && File.Exists(keyFile))
        {
            try
            {
                using var certificate = X509CertificateLoader.LoadCertificateFromFile(certificateFile);
                using var key = ECDsa.Create();
                key.ImportFromPem(await File.ReadAllTextAsync(keyFile, cancellationToken));
                return CertificateAuthority.Load(certificate.RawData, key.ExportECPrivateKey(), time);
            }
            catch (Exception e) when (e is CryptographicException or ArgumentException or IOException or UnauthorizedAccessException)
            {
                throw new CloudCoreException($"modules.cloudHub.tlsCAFile {certificateFile} and tlsCAKeyFile {keyFile} are no usable CA (ECDSA, PEM): {e.Message}", e);
            }
        }

        await EnsureNamespaceAsync(kube, Namespace, cancellationToken);
        var data = await CreateOrReadAsync("casecret", () =>
        {
            using var made = CertificateAuthority.Create(time);
            return new() { ["cadata"] = made.CertificateDer, ["cakeydata"] = made.KeyDer };
        }, cancellationToken);
        try
        {
            return CertificateAuthority.Load(data["cadata"], data["cakeydata"], time);
        }
        catch (Exception e) when (e is CryptographicException or KeyNotFoundException)
        {
            throw new CloudCoreException($"the Secret {Namespace}/casecret holds no usable CA ({e.Message}); delete it to have a new one made, all nodes must then join again", e);
        }
    }

    /// <summary>The serving certificate from the Secret <c>cloudcoresecret</c>, made when there is none. One of its own is issued when the
    /// stored one does not carry all of <paramref name="hosts"/> or belongs to another CA; the Secret then stays as another cloudcore wants it.</summary>
    public async Task<X509Certificate2> LoadServerAsync(CertificateAuthority authority, IReadOnlyCollection<string> hosts, CancellationToken cancellationToken)
    {
        await EnsureNamespaceAsync(kube, Namespace, cancellationToken);
        var data = await CreateOrReadAsync("cloudcoresecret", () =>
        {
            var made = authority.IssueServer(hosts);
            return new() { ["cloudcoredata"] = made.CertificateDer, ["cloudcorekeydata"] = made.KeyDer };
        }, cancellationToken);
        if (data.TryGetValue("cloudcoredata", out var certificateDer) && data.TryGetValue("cloudcorekeydata", out var keyDer)
            && TryLoadServer(authority, certificateDer, keyDer, hosts) is { } stored)
            return stored;
        var own = authority.IssueServer(hosts);
        return WithKey(own.CertificateDer, own.KeyDer);
    }

    /// <summary>Writes a fresh token to the Secret <c>tokensecret</c> unless the one there is good for longer than <paramref name="lifetime"/> / 2.
    /// Returns when it expires.</summary>
    public async Task<DateTimeOffset> RefreshTokenAsync(CertificateAuthority authority, TimeSpan lifetime, CancellationToken cancellationToken)
    {
        await EnsureNamespaceAsync(kube, Namespace, cancellationToken);
        while (true)
        {
            var now = time.GetUtcNow();
            var stored = await kube.TryGetAsync(ResourceKind.Secret, Namespace, TokenName, cancellationToken);
            if (stored is not null && DataOf(stored).TryGetValue(TokenKey, out var text)
                && JoinToken.Expiry(Encoding.UTF8.GetString(text), authority.KeyDer, out var until) is null
                && until - now > lifetime / 2)
                return until;
            var expires = now + lifetime;
            var token = JoinToken.Create(authority.CertificateDer, authority.KeyDer, expires);
            var fresh = SecretOf(TokenName, new() { [TokenKey] = Encoding.UTF8.GetBytes(token) });
            try
            {
                if (stored is null)
                {
                    await kube.CreateAsync(ResourceKind.Secret, Namespace, fresh, cancellationToken);
                }
                else
                {
                    var changed = stored.DeepClone().AsObject();
                    changed["data"] = fresh["data"]!.DeepClone();
                    await kube.UpdateAsync(ResourceKind.Secret, Namespace, changed, null, cancellationToken);
                }

                return expires;
            }
            catch (KubeException e) when (e.Code == 409)
            {
                // Another cloudcore wrote it at the same moment; look at theirs.
            }
        }
    }

    /// <summary>Creates the namespace when it is missing.</summary>
    public static async Task EnsureNamespaceAsync(IKubeClient kube, string name, CancellationToken cancellationToken)
    {
        if (await kube.TryGetAsync(ResourceKind.Namespace, null, name, cancellationToken) is not null)
            return;
        try
        {
            await kube.CreateAsync(ResourceKind.Namespace, null, new JsonObject
            {
                ["apiVersion"] = "v1",
                ["kind"] = "Namespace",
                ["metadata"] = new JsonObject { ["name"] = name },
            }, cancellationToken);
        }
        catch (KubeException e) when (e.Code == 409)
        {
            // Somebody else created it first.
        }
    }

    private async Task<Dictionary<string, byte[]>> CreateOrReadAsync(string name, Func<Dictionary<string, byte[]>> make, CancellationToken cancellationToken)
    {
        if (await kube.TryGetAsync(ResourceKind.Secret, Namespace, name, cancellationToken) is { } stored)
            return DataOf(stored);
        try
        {
            return DataOf(await kube.CreateAsync(ResourceKind.Secret, Namespace, SecretOf(name, make()), cancellationToken));
        }
        catch (KubeException e) when (e.Code == 409)
        {
            return DataOf(await kube.GetAsync(ResourceKind.Secret, Namespace, name, cancellationToken));
        }
    }

    private X509Certificate2? TryLoadServer(CertificateAuthority authority, byte[] certificateDer, byte[] keyDer, IReadOnlyCollection<string> hosts)
    {
        try
        {
            var certificate = WithKey(certificateDer, keyDer);
            using var chain = new X509Chain();
            chain.ChainPolicy.TrustMode = X509ChainTrustMode.CustomRootTrust;
            chain.ChainPolicy.CustomTrustStore.Add(authority.Certificate);
            chain.ChainPolicy.RevocationMode = X509RevocationMode.NoCheck;
            chain.ChainPolicy.DisableCertificateDownloads = true;
            chain.ChainPolicy.VerificationTimeIgnored = false;
            chain.ChainPolicy.VerificationTime = time.GetUtcNow().UtcDateTime;
            if (hosts.All(host => certificate.MatchesHostname(host)) && chain.Build(certificate))
                return certificate;
            certificate.Dispose();
        }
        catch (Exception e) when (e is CryptographicException or ArgumentException)
        {
            // Not a certificate, or not its key: one of its own serves instead.
        }

        return null;
    }

    private static X509Certificate2 WithKey(byte[] certificateDer, byte[] keyDer)
    {
        using var key = ECDsa.Create();
        key.ImportECPrivateKey(keyDer, out _);
        using var bare = X509CertificateLoader.LoadCertificate(certificateDer);
        return bare.CopyWithPrivateKey(key);
    }

    private static JsonObject SecretOf(string name, Dictionary<string, byte[]> data)
    {
        var encoded = new JsonObject();
        foreach (var (key, bytes) in data)
            encoded[key] = Convert.ToBase64String(bytes);
        return new JsonObject
        {
            ["apiVersion"] = "v1",
            ["kind"] = "Secret",
            ["metadata"] = new JsonObject { ["name"] = name, ["namespace"] = Namespace },
            ["type"] = "Opaque",
            ["data"] = encoded,
        };
    }

    private static Dictionary<string, byte[]> DataOf(JsonObject secret)
    {
        var data = new Dictionary<string, byte[]>();
        foreach (var (key, text) in secret.Map("data"))
        {
            var bytes = new byte[text.Length];
            if (Convert.TryFromBase64String(text, bytes, out var length))
                data[key] = bytes[..length];
        }

        return data;
    }

    /// <summary>What an edge may dial: the advertised addresses, the DNS names, and this machine's own names.</summary>
    public static IReadOnlyCollection<string> Hosts(IEnumerable<string> advertised, IEnumerable<string> dnsNames)
        => [.. advertised.Concat(dnsNames).Concat(["127.0.0.1", "::1", "localhost", Dns.GetHostName()]).Where(host => host.Length > 0).Distinct(StringComparer.OrdinalIgnoreCase)];
}
