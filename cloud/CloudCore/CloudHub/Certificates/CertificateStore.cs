using System.Net;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using System.Text;
using System.Text.Json.Nodes;
using Edge.Kubernetes;

namespace Edge.Cloud.CloudHub.Certificates;

/// <summary>The CAs, the serving certificate and KubeEdge's join token as Secrets of namespace <c>kubeedge</c>, under KubeEdge's names.
/// Every write is a compare-and-set: whoever writes first has made it, all others read it, so cloudcores that start at once share one CA.</summary>
internal sealed class CertificateStore(IKubeClient kube, TimeProvider time)
{
    public const string Namespace = "kubeedge";
    public const string AuthoritySecret = "casecret";

    private const string ServerSecret = "cloudcoresecret";
    private const string TokenSecret = "tokensecret";
    private const string TokenKey = "tokendata";

    // Beside KubeEdge's cadata and cakeydata, which a stock cloudcore reads as ever: PEM each.
    private const string FormerKey = "formercadata";
    private const string CrossedKey = "crosscadata";

    /// <summary>When the active CA took over, RFC 3339.</summary>
    public const string RolloverAnnotation = "kubeedge.io/ca-rollover-time";

    // A write that lost to another is tried again; to lose so often takes a defect.
    private const int ConflictsMax = 20;

    /// <summary>The CA from files when both are given and exist, else the CAs in the Secret <c>casecret</c>, made when there is none.</summary>
    /// <exception cref="CloudCoreException">The stored CA cannot be read.</exception>
    public async Task<AuthoritySet> LoadAuthoritiesAsync(string certificateFile, string keyFile, CancellationToken cancellationToken)
    {
        if (IsFromFiles(certificateFile, keyFile))
        {
            try
            {
                using var certificate = X509CertificateLoader.LoadCertificateFromFile(certificateFile);
                using var key = ECDsa.Create();
                key.ImportFromPem(await File.ReadAllTextAsync(keyFile, cancellationToken));
                return new AuthoritySet(CertificateAuthority.Load(certificate.RawData, key.ExportECPrivateKey(), time), [], []);
            }
            catch (Exception e) when (e is CryptographicException or ArgumentException or IOException or UnauthorizedAccessException)
            {
                throw new CloudCoreException($"modules.cloudHub.tlsCAFile {certificateFile} and tlsCAKeyFile {keyFile} are no usable CA (ECDSA, PEM): {e.Message}", e);
            }
        }

        await EnsureNamespaceAsync(kube, Namespace, cancellationToken);
        return Read(await CreateOrReadAsync(AuthoritySecret, () =>
        {
            using var made = CertificateAuthority.Create(time);
            return new() { ["cadata"] = made.CertificateDer, ["cakeydata"] = made.KeyDer };
        }, cancellationToken));
    }

    public static bool IsFromFiles(string certificateFile, string keyFile)
        => certificateFile.Length > 0 && keyFile.Length > 0 && File.Exists(certificateFile) && File.Exists(keyFile);

    /// <summary>The CAs in the Secret, and since when the active one is active (empty: from the start); null when there is no Secret.</summary>
    /// <exception cref="CloudCoreException">They cannot be read.</exception>
    public async Task<(AuthoritySet Authorities, string Since)?> TryReadAuthoritiesAsync(CancellationToken cancellationToken)
        => await kube.TryGetAsync(ResourceKind.Secret, Namespace, AuthoritySecret, cancellationToken) is { } secret
            ? (Read(secret), secret.Annotation(RolloverAnnotation) ?? "") : null;

    /// <summary>Makes a new CA the active one and keeps the present one as trusted. Returns the CAs as they are then.</summary>
    /// <exception cref="CloudCoreException">There is no CA yet, a former one is still trusted, or somebody else changed it at the same moment.</exception>
    public async Task<AuthoritySet> RollOverAsync(CancellationToken cancellationToken)
        => await ChangeAuthoritiesAsync(
            (present, secret) =>
            {
                if (present.Former.Count > 0)
                {
                    throw new CloudCoreException("the CA before the last rollover is still trusted; once every node has renewed its certificate, remove it with "
                        + "'edgectl ca drop-old', then roll over again");
                }

                var (next, cross) = present.Active.CreateSuccessor();
                using (next)
                {
                    var data = secret.Child("data");
                    data["cadata"] = Convert.ToBase64String(next.CertificateDer);
                    data["cakeydata"] = Convert.ToBase64String(next.KeyDer);
                    data[FormerKey] = PemData([present.Active.CertificateDer]);
                    data[CrossedKey] = PemData([cross]);
                    secret.Child("metadata").Child("annotations")[RolloverAnnotation] = KubeObject.Time(time.GetUtcNow());
                }
            },
            cancellationToken);

    /// <summary>Ends the trust in the CA before the last rollover. Returns the CAs as they are then.</summary>
    /// <exception cref="CloudCoreException">There is none, or somebody else changed it at the same moment.</exception>
    public async Task<AuthoritySet> DropFormerAsync(CancellationToken cancellationToken)
        => await ChangeAuthoritiesAsync(
            (present, secret) =>
            {
                if (present.Former.Count == 0)
                    throw new CloudCoreException("there is no former CA: only the active one is trusted");
                var data = secret.Child("data");
                data.Remove(FormerKey);
                data.Remove(CrossedKey);
            },
            cancellationToken);

    /// <summary>The serving certificate of <paramref name="authorities"/>' active CA. The one in the Secret <c>cloudcoresecret</c> serves when it
    /// carries all of <paramref name="hosts"/>. The Secret is written when it is missing, unusable or of another CA, never for its names:
    /// cloudcores that advertise different addresses would else overwrite each other for ever. One whose names are not in it issues a
    /// certificate for itself alone, which lives as long as the process.</summary>
    public async Task<X509Certificate2> LoadServerAsync(AuthoritySet authorities, IReadOnlyCollection<string> hosts, CancellationToken cancellationToken)
    {
        await EnsureNamespaceAsync(kube, Namespace, cancellationToken);
        var authority = authorities.Active;
        for (var i = 0; i < ConflictsMax; i++)
        {
            var secret = await CreateOrReadAsync(ServerSecret, () =>
            {
                var made = authority.IssueServer(hosts);
                return new() { ["cloudcoredata"] = made.CertificateDer, ["cloudcorekeydata"] = made.KeyDer };
            }, cancellationToken);
            var data = DataOf(secret);
            var stored = TryLoadServer(data);
            if (stored is not null && IsServing(authority, stored))
            {
                if (hosts.All(host => stored.MatchesHostname(host)))
                    return stored;
                stored.Dispose();
                break;
            }

            // The names it had stay: another cloudcore goes by them.
            var made = authority.IssueServer(hosts.Concat(stored is null ? [] : NamesOf(stored)).Distinct(StringComparer.OrdinalIgnoreCase));
            stored?.Dispose();
            var changed = secret.DeepClone().AsObject();
            changed.Child("data")["cloudcoredata"] = Convert.ToBase64String(made.CertificateDer);
            changed.Child("data")["cloudcorekeydata"] = Convert.ToBase64String(made.KeyDer);
            try
            {
                await kube.UpdateAsync(ResourceKind.Secret, Namespace, changed, null, cancellationToken);
                return WithKey(made.CertificateDer, made.KeyDer);
            }
            catch (KubeException e) when (e.Code is 409 or 404)
            {
                // Another cloudcore was first, or somebody deleted it; look again.
            }
        }

        var own = authority.IssueServer(hosts);
        return WithKey(own.CertificateDer, own.KeyDer);
    }

    /// <summary>Writes a fresh token to the Secret <c>tokensecret</c> unless the one there is of <paramref name="authorities"/>' active CA and good
    /// for longer than <paramref name="lifetime"/> / 2. Returns when it expires.</summary>
    public async Task<DateTimeOffset> RefreshTokenAsync(AuthoritySet authorities, TimeSpan lifetime, CancellationToken cancellationToken)
    {
        await EnsureNamespaceAsync(kube, Namespace, cancellationToken);
        for (var i = 0; ; i++)
        {
            var now = time.GetUtcNow();
            var stored = await kube.TryGetAsync(ResourceKind.Secret, Namespace, TokenSecret, cancellationToken);
            if (stored is not null && TokenIn(stored) is { Length: > 0 } text
                && authorities.TryReadToken(text, out _) is { } claims && claims.Expires - now > lifetime / 2)
                return claims.Expires;
            var expires = now + lifetime;
            var token = JoinToken.Create(authorities.Active.CertificateDer, authorities.Active.KeyDer, expires);
            var fresh = SecretOf(TokenSecret, new() { [TokenKey] = Encoding.UTF8.GetBytes(token) });
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
            catch (KubeException e) when (e.Code == 409 && i < ConflictsMax)
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

    /// <summary>What an edge may dial: the advertised addresses, the DNS names, and this machine's own names.</summary>
    public static IReadOnlyCollection<string> Hosts(IEnumerable<string> advertised, IEnumerable<string> dnsNames)
        => [.. advertised.Concat(dnsNames).Concat(["127.0.0.1", "::1", "localhost", Dns.GetHostName()]).Where(host => host.Length > 0).Distinct(StringComparer.OrdinalIgnoreCase)];

    internal static JsonObject SecretOf(string name, Dictionary<string, byte[]> data)
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

    /// <summary>The decoded data; what is not base64 is left out.</summary>
    internal static Dictionary<string, byte[]> DataOf(JsonObject secret)
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

    private static string TokenIn(JsonObject secret) => DataOf(secret).TryGetValue(TokenKey, out var text) ? Encoding.UTF8.GetString(text) : "";

    private AuthoritySet Read(JsonObject secret)
    {
        try
        {
            var data = DataOf(secret);
            return new AuthoritySet(CertificateAuthority.Load(data["cadata"], data["cakeydata"], time), PemsOf(data, FormerKey), PemsOf(data, CrossedKey));
        }
        catch (Exception e) when (e is CryptographicException or KeyNotFoundException or ArgumentException)
        {
            throw new CloudCoreException($"the Secret {Namespace}/{AuthoritySecret} holds no usable CA ({e.Message}); restore it, or delete it and start cloudcore to have a new one made: "
                + "all nodes must then join again", e);
        }
    }

    private async Task<AuthoritySet> ChangeAuthoritiesAsync(Action<AuthoritySet, JsonObject> change, CancellationToken cancellationToken)
    {
        var secret = await kube.TryGetAsync(ResourceKind.Secret, Namespace, AuthoritySecret, cancellationToken)
            ?? throw new CloudCoreException($"there is no Secret {Namespace}/{AuthoritySecret}; cloudcore makes it when it starts: is it running beside this cluster?");
        using var present = Read(secret);
        var changed = secret.DeepClone().AsObject();
        change(present, changed);
        try
        {
            return Read(await kube.UpdateAsync(ResourceKind.Secret, Namespace, changed, null, cancellationToken));
        }
        catch (KubeException e) when (e.Code == 409)
        {
            throw new CloudCoreException("somebody else changed the CA at the same moment; look at it with 'edgectl ca list' and try again", e);
        }
    }

    private async Task<JsonObject> CreateOrReadAsync(string name, Func<Dictionary<string, byte[]>> make, CancellationToken cancellationToken)
    {
        for (var i = 0; ; i++)
        {
            if (await kube.TryGetAsync(ResourceKind.Secret, Namespace, name, cancellationToken) is { } stored)
                return stored;
            try
            {
                return await kube.CreateAsync(ResourceKind.Secret, Namespace, SecretOf(name, make()), cancellationToken);
            }
            catch (KubeException e) when (e.Code == 409 && i < ConflictsMax)
            {
                // Another cloudcore made it first; theirs counts.
            }
        }
    }

    // In its lifetime and of this CA; its names are another question.
    private bool IsServing(CertificateAuthority authority, X509Certificate2 certificate)
    {
        using var issuer = new TrustedAuthority(authority.Certificate);
        var now = time.GetUtcNow();
        return issuer.Issued(certificate) && certificate.NotBefore.ToUniversalTime() <= now && now < certificate.NotAfter.ToUniversalTime();
    }

    private static X509Certificate2? TryLoadServer(Dictionary<string, byte[]> data)
    {
        try
        {
            return data.TryGetValue("cloudcoredata", out var certificate) && data.TryGetValue("cloudcorekeydata", out var key) ? WithKey(certificate, key) : null;
        }
        catch (Exception e) when (e is CryptographicException or ArgumentException)
        {
            // Not a certificate, or not its key.
            return null;
        }
    }

    private static IEnumerable<string> NamesOf(X509Certificate2 certificate)
        => certificate.Extensions.OfType<X509SubjectAlternativeNameExtension>()
            .SelectMany(names => names.EnumerateDnsNames().Concat(names.EnumerateIPAddresses().Select(address => address.ToString())));

    private static X509Certificate2 WithKey(byte[] certificateDer, byte[] keyDer)
    {
        using var key = ECDsa.Create();
        key.ImportECPrivateKey(keyDer, out _);
        using var bare = X509CertificateLoader.LoadCertificate(certificateDer);
        return bare.CopyWithPrivateKey(key);
    }

    private static string PemData(IEnumerable<byte[]> certificates)
        => Convert.ToBase64String(Encoding.ASCII.GetBytes(string.Concat(certificates.Select(der => PemEncoding.WriteString("CERTIFICATE", der) + "\n"))));

    private static IReadOnlyList<X509Certificate2> PemsOf(Dictionary<string, byte[]> data, string key)
    {
        var certificates = new X509Certificate2Collection();
        if (data.TryGetValue(key, out var pem))
            certificates.ImportFromPem(Encoding.ASCII.GetString(pem));
        return [.. certificates];
    }
}
