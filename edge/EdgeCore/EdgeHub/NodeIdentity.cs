using System.Net;
using System.Net.Security;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using Edge.Common.Configuration;
using Edge.Common.Security;
using Edge.Core.Configuration;

namespace Edge.Core.EdgeHub;

/// <summary>Enrolment or renewal did not work; waiting and trying again may.</summary>
public sealed class EnrolmentException : Exception
{
    public EnrolmentException(string message)
        : base(message)
    {
    }

    public EnrolmentException(string message, Exception inner)
        : base(message, inner)
    {
    }

    /// <summary>Whether the cloud answered and does not accept the node's certificate; trying again with the same one is of no use.</summary>
    public bool IsCertificateRefused { get; init; }
}

/// <summary>The node's certificate with its key, and the CAs that it trusts: one, or two while the cloud goes over to another.</summary>
internal sealed record Credentials(X509Certificate2 Certificate, IReadOnlyList<X509Certificate2> Authorities)
{
    private volatile bool _serverWasRefused;
    private volatile SslStreamCertificateContext? _shown;

    public Credentials(X509Certificate2 certificate, X509Certificate2 ca)
        : this(certificate, [ca])
    {
    }

    /// <summary>Whether a server was met that none of the CAs vouches for: the cloud may have a new one.</summary>
    public bool ServerWasRefused => _serverWasRefused;

    /// <summary>For a connection to CloudCore: this certificate is shown, and the server's chain is checked against these CAs only; the name or address dialled must be
    /// in its SAN (kubeedge-wire §1.9). After a rollover of the CA the certificates that the server sent lead to the one before it.</summary>
    /// <param name="judged">Told whether the server is trusted.</param>
    public SslClientAuthenticationOptions TlsOptions(Action<bool> judged)
    {
        // The only chain that is built: without a policy SslStream first looks for one in the machine's store, and may fetch what it does not find.
        var policy = new X509ChainPolicy { TrustMode = X509ChainTrustMode.CustomRootTrust, RevocationMode = X509RevocationMode.NoCheck, DisableCertificateDownloads = true };
        foreach (var one in Authorities)
            policy.CustomTrustStore.Add(one);
        return new SslClientAuthenticationOptions
        {
            ClientCertificateContext = Shown(),
            CertificateChainPolicy = policy,
            RemoteCertificateValidationCallback = (_, _, _, errors) =>
            {
                var trusted = errors == SslPolicyErrors.None;
                _serverWasRefused = !trusted;
                judged(trusted);
                return trusted;
            },
        };
    }

    // Made at first use and kept: it holds what OpenSSL needs of the certificate. Offline: the machine's store has nothing to add to it.
    private SslStreamCertificateContext Shown()
    {
        if (_shown is not { } shown || !ReferenceEquals(shown.TargetCertificate, Certificate))
            _shown = shown = SslStreamCertificateContext.Create(Certificate, null, offline: true);
        return shown;
    }
}

/// <summary>The node's key, certificate and CAs on disk, and how they are got and renewed (kubeedge-wire §2.7).</summary>
internal sealed class NodeIdentity(EdgeHubOptions options, string nodeName, TimeProvider time)
{
    private const int BodyMax = 1024 * 1024;

    // CAs that a cloud may name, and that it may have had before; more are a mistake.
    private const int AuthoritiesMax = 16;
    private const int FormerMax = 32;
    private static readonly TimeSpan s_requestTimeout = TimeSpan.FromSeconds(30);

    public string CommonName => $"system:node:{nodeName}";

    /// <summary>What lies on disk, or null when there is nothing usable; <paramref name="problem"/> then says why, empty when nothing is there.</summary>
    public Credentials? Load(out string problem)
    {
        problem = "";
        FinishRenewal();
        if (!File.Exists(options.CertificateFile) && !File.Exists(options.KeyFile))
            return null;
        try
        {
            var authorities = LoadAuthorities();
            using var bare = X509Certificate2.CreateFromPemFile(options.CertificateFile, options.KeyFile);
            if (bare.GetNameInfo(X509NameType.SimpleName, forIssuer: false) is var name && name != CommonName)
                problem = $"the certificate {options.CertificateFile} is for '{name}', and this node is '{CommonName}'";
            else if (JoinToken.TryParse(options.Token, out var token, out _) && !IsOfThisCloud(token!, authorities))
                problem = $"the token is for another cloud than {options.CaFile}";
            else
                return new Credentials(X509CertificateLoader.LoadPkcs12(bare.Export(X509ContentType.Pkcs12), null), authorities);
            foreach (var one in authorities)
                one.Dispose();
        }
        catch (Exception e) when (e is CryptographicException or IOException or UnauthorizedAccessException or ArgumentException)
        {
            problem = $"the identity in {options.CertificateFile}, {options.KeyFile} and {options.CaFile} cannot be read: {e.Message}";
        }

        return null;
    }

    /// <summary>Gets CA and certificate with the token and stores them.</summary>
    /// <exception cref="EnrolmentException">The server cannot be reached, is not the token's cloud, or refused.</exception>
    /// <exception cref="ConfigException">There is no token.</exception>
    public async Task<Credentials> EnrolAsync(string because, CancellationToken cancellationToken)
    {
        if (options.Token.Length == 0)
        {
            throw new ConfigException([$"modules.edgeHub.token: is empty, and {(because.Length > 0 ? because : $"there is no certificate in {options.CertificateFile}")}; "
                + "put the token there that 'edgectl gettoken' prints on the cloud's machine"]);
        }

        if (!JoinToken.TryParse(options.Token, out var token, out var error))
            throw new ConfigException([$"modules.edgeHub.token: is malformed: {error}"]);
        var caDer = await FetchCaAsync(cancellationToken);
        if (!token!.IsFor(caDer))
        {
            throw new EnrolmentException($"the CA certificate served at {Url("/ca.crt")} is not the one the token names: either the token is of another cloud "
                + "or from before a rollover of its CA (print a new one with 'edgectl gettoken'), or something between here and there answers in CloudCore's place");
        }

        using var ca = X509CertificateLoader.LoadCertificate(caDer);
        // The token vouches for this CA, and this CA, by TLS, for the others.
        var authorities = await FetchBundleAsync([ca], null, cancellationToken) ?? [ca];
        using var key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        var certificate = await RequestAsync(authorities, null, token.Bearer, key, cancellationToken);
        if (File.Exists(FormerFile))
            File.Delete(FormerFile);
        WriteAuthorities(authorities);
        Store(key, certificate);
        return Load(out var problem) ?? throw new EnrolmentException($"the new identity cannot be used: {problem}");
    }

    /// <summary>Gets a new key and certificate with the present one as credential, and stores them, with the CAs as the cloud has them then.</summary>
    /// <exception cref="EnrolmentException">The server cannot be reached, is not trusted, or refused.</exception>
    public async Task<Credentials> RenewAsync(Credentials present, CancellationToken cancellationToken)
    {
        var trusting = await RefreshTrustAsync(present, cancellationToken) ?? present;
        using var key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        var certificate = await RequestAsync(trusting.Authorities, present.Certificate, null, key, cancellationToken);
        Store(key, certificate);
        return Load(out var problem) ?? throw new EnrolmentException($"the new identity cannot be used: {problem}");
    }

    /// <summary>Asks the cloud for its CAs and stores them; null when they are those known, or when the cloud does not tell (a stock one).</summary>
    /// <exception cref="EnrolmentException">The server cannot be reached, or none of the present CAs vouches for it.</exception>
    public async Task<Credentials?> RefreshTrustAsync(Credentials present, CancellationToken cancellationToken)
    {
        if (await FetchBundleAsync(present.Authorities, present.Certificate, cancellationToken) is not { } authorities
            || authorities.Select(one => one.Thumbprint).Order().SequenceEqual(present.Authorities.Select(one => one.Thumbprint).Order()))
            return null;
        var dropped = present.Authorities.Where(one => authorities.All(other => other.Thumbprint != one.Thumbprint)).Select(one => Hash(one.RawData));
        // First what may not be forgotten: without it, a token of the time before would look like one of another cloud.
        WriteAtomic(FormerFile, string.Join('\n', FormerHashes().Concat(dropped).Distinct().TakeLast(FormerMax)), secret: false);
        WriteAuthorities(authorities);
        return present with { Authorities = authorities };
    }

    /// <summary>When to renew: at <paramref name="share"/> (0..1) of the stretch from 70 % to 90 % of the certificate's life.</summary>
    public static DateTimeOffset RenewalTime(X509Certificate2 certificate, double share)
    {
        var from = new DateTimeOffset(certificate.NotBefore.ToUniversalTime());
        var life = new DateTimeOffset(certificate.NotAfter.ToUniversalTime()) - from;
        return from + (life * (0.7 + (0.2 * share)));
    }

    public static bool IsTrusted(X509Certificate2 ca, X509Certificate? certificate, SslPolicyErrors errors) => IsTrusted([ca], certificate, null, errors);

    /// <summary>Whether one of the CAs vouches for the certificate, directly or through the certificates that came with it.</summary>
    public static bool IsTrusted(IReadOnlyList<X509Certificate2> authorities, X509Certificate? certificate, X509Chain? sent, SslPolicyErrors errors)
    {
        if (certificate is null || (errors & (SslPolicyErrors.RemoteCertificateNameMismatch | SslPolicyErrors.RemoteCertificateNotAvailable)) != 0)
            return false;
        using var chain = new X509Chain();
        chain.ChainPolicy.TrustMode = X509ChainTrustMode.CustomRootTrust;
        foreach (var one in authorities)
            chain.ChainPolicy.CustomTrustStore.Add(one);
        if (sent is not null)
            chain.ChainPolicy.ExtraStore.AddRange(sent.ChainPolicy.ExtraStore);
        chain.ChainPolicy.RevocationMode = X509RevocationMode.NoCheck;
        chain.ChainPolicy.DisableCertificateDownloads = true;
        using var copy = X509CertificateLoader.LoadCertificate(certificate.GetRawCertData());
        return chain.Build(copy);
    }

    private async Task<byte[]> FetchCaAsync(CancellationToken cancellationToken)
    {
        // Not verified: the token's hash decides whether this is the right CA.
        using var handler = new SocketsHttpHandler { SslOptions = new SslClientAuthenticationOptions { RemoteCertificateValidationCallback = (_, server, _, _) => server is not null }, UseProxy = false };
        using var request = new HttpRequestMessage(HttpMethod.Get, Url("/ca.crt"));
        var (status, body) = await SendAsync(handler, request, cancellationToken);
        if (status != HttpStatusCode.OK)
            throw new EnrolmentException($"{Url("/ca.crt")} answered {(int)status}");
        return body;
    }

    // The cloud's CAs over a connection that the given ones vouch for; null where the cloud has no such page.
    private async Task<IReadOnlyList<X509Certificate2>?> FetchBundleAsync(IReadOnlyList<X509Certificate2> trusted, X509Certificate2? credential, CancellationToken cancellationToken)
    {
        // Whether the server would still be trusted with another set of CAs.
        Func<IReadOnlyList<X509Certificate2>, bool> isTrustedBy = _ => false;
        using var handler = Handler(credential, (server, sent, errors) =>
        {
            // The chain is disposed after the callback; what it holds is copied.
            var (raw, extra) = (server?.GetRawCertData(), sent?.ChainPolicy.ExtraStore.Select(one => one.RawData).ToList() ?? []);
            isTrustedBy = others => raw is not null && IsTrustedWith(others, raw, extra, errors);
            return IsTrusted(trusted, server, sent, errors);
        });
        using var request = new HttpRequestMessage(HttpMethod.Get, Url("/ca-bundle.crt"));
        var (status, body) = await SendAsync(handler, request, cancellationToken);
        if (status == HttpStatusCode.NotFound)
            return null;
        if (status != HttpStatusCode.OK)
            throw new EnrolmentException($"{Url("/ca-bundle.crt")} answered {(int)status}: {Excerpt(body)}");
        try
        {
            var authorities = ReadPem(body);
            if (authorities.Count is 0 or > AuthoritiesMax)
                throw new EnrolmentException($"{Url("/ca-bundle.crt")} answered with {authorities.Count} certificates, must be from 1 to {AuthoritiesMax}");
            if (!isTrustedBy(authorities))
                throw new EnrolmentException($"{Url("/ca-bundle.crt")} answered with CAs that do not vouch for the server itself; the present ones are kept");
            return authorities;
        }
        catch (CryptographicException e)
        {
            throw new EnrolmentException($"{Url("/ca-bundle.crt")} answered with something that is not certificates in PEM: {e.Message}", e);
        }
    }

    private static bool IsTrustedWith(IReadOnlyList<X509Certificate2> authorities, byte[] server, List<byte[]> sent, SslPolicyErrors errors)
    {
        using var certificate = X509CertificateLoader.LoadCertificate(server);
        using var chain = new X509Chain();
        foreach (var one in sent)
            chain.ChainPolicy.ExtraStore.Add(X509CertificateLoader.LoadCertificate(one));
        return IsTrusted(authorities, certificate, chain, errors);
    }

    private static SocketsHttpHandler Handler(X509Certificate2? credential, Func<X509Certificate?, X509Chain?, SslPolicyErrors, bool> isTrusted)
    {
        var tls = new SslClientAuthenticationOptions { RemoteCertificateValidationCallback = (_, server, sent, errors) => isTrusted(server, sent, errors) };
        if (credential is not null)
            tls.ClientCertificates = [credential];
        return new SocketsHttpHandler { SslOptions = tls, UseProxy = false };
    }

    private async Task<X509Certificate2> RequestAsync(
        IReadOnlyList<X509Certificate2> authorities, X509Certificate2? credential, string? bearer, ECDsa key, CancellationToken cancellationToken)
    {
        using var handler = Handler(credential, (server, sent, errors) => IsTrusted(authorities, server, sent, errors));
        using var request = new HttpRequestMessage(HttpMethod.Get, Url("/edge.crt")) { Content = new ByteArrayContent(SigningRequest(key)) };
        request.Headers.Add("NodeName", nodeName);
        if (bearer is not null)
            request.Headers.Authorization = new System.Net.Http.Headers.AuthenticationHeaderValue("Bearer", bearer);
        var (status, body) = await SendAsync(handler, request, cancellationToken);
        switch (status)
        {
            case HttpStatusCode.OK:
                break;
            case HttpStatusCode.Unauthorized or HttpStatusCode.Forbidden when bearer is not null:
                throw new EnrolmentException($"CloudCore refused the token ({(int)status}: {Excerpt(body)}): it is wrong, expired, revoked, or for another node; print a new one with 'edgectl gettoken'");
            case HttpStatusCode.Unauthorized or HttpStatusCode.Forbidden:
                throw new EnrolmentException($"CloudCore refused the certificate {options.CertificateFile} ({(int)status}: {Excerpt(body)})") { IsCertificateRefused = true };
            default:
                throw new EnrolmentException($"{Url("/edge.crt")} answered {(int)status}: {Excerpt(body)}");
        }

        try
        {
            var certificate = X509CertificateLoader.LoadCertificate(body);
            using var publicKey = certificate.GetECDsaPublicKey();
            if (publicKey is null || !publicKey.ExportSubjectPublicKeyInfo().AsSpan().SequenceEqual(key.ExportSubjectPublicKeyInfo()))
                throw new EnrolmentException($"{Url("/edge.crt")} answered with a certificate for another key");
            return certificate;
        }
        catch (CryptographicException e)
        {
            throw new EnrolmentException($"{Url("/edge.crt")} answered with something that is not a certificate: {e.Message}", e);
        }
    }

    private async Task<(HttpStatusCode Status, byte[] Body)> SendAsync(SocketsHttpHandler handler, HttpRequestMessage request, CancellationToken cancellationToken)
    {
        using var client = new HttpClient(handler, disposeHandler: false) { MaxResponseContentBufferSize = BodyMax, Timeout = Timeout.InfiniteTimeSpan };
        using var deadline = new CancellationTokenSource(s_requestTimeout, time);
        using var both = CancellationTokenSource.CreateLinkedTokenSource(deadline.Token, cancellationToken);
        try
        {
            using var response = await client.SendAsync(request, both.Token);
            return (response.StatusCode, await response.Content.ReadAsByteArrayAsync(both.Token));
        }
        catch (OperationCanceledException) when (!cancellationToken.IsCancellationRequested)
        {
            throw new EnrolmentException($"{request.RequestUri} did not answer within {s_requestTimeout.TotalSeconds:0} s");
        }
        catch (HttpRequestException e)
        {
            throw new EnrolmentException($"{request.RequestUri} cannot be reached: {Innermost(e)}", e);
        }
    }

    private byte[] SigningRequest(ECDsa key)
    {
        var subject = new X500DistinguishedNameBuilder();
        subject.AddCommonName(CommonName);
        subject.AddStateOrProvinceName("Zhejiang");
        subject.AddLocalityName("Hangzhou");
        subject.AddOrganizationName("system:nodes");
        subject.AddCountryOrRegion("CN");
        return new CertificateRequest(subject.Build(), key, HashAlgorithmName.SHA256).CreateSigningRequest();
    }

    private void Store(ECDsa key, X509Certificate2 certificate)
    {
        // Two files cannot be replaced in one step: both are written aside first, and FinishRenewal repairs a stop between the renames.
        WriteAtomic(options.KeyFile + ".new", key.ExportECPrivateKeyPem(), secret: true);
        WriteAtomic(options.CertificateFile + ".new", certificate.ExportCertificatePem(), secret: false);
        File.Move(options.KeyFile + ".new", options.KeyFile, overwrite: true);
        File.Move(options.CertificateFile + ".new", options.CertificateFile, overwrite: true);
    }

    private void FinishRenewal()
    {
        var newKey = options.KeyFile + ".new";
        var newCertificate = options.CertificateFile + ".new";
        if (!File.Exists(newKey) && File.Exists(newCertificate))
            File.Move(newCertificate, options.CertificateFile, overwrite: true);
        foreach (var rest in (string[])[newKey, newCertificate])
        {
            if (File.Exists(rest))
                File.Delete(rest);
        }
    }

    private string FormerFile => options.CaFile + ".former";

    private IReadOnlyList<X509Certificate2> LoadAuthorities()
    {
        var bytes = File.ReadAllBytes(options.CaFile);
        var authorities = bytes.AsSpan().IndexOf("-----BEGIN"u8) >= 0 ? ReadPem(bytes) : [X509CertificateLoader.LoadCertificate(bytes)];
        return authorities.Count > 0 ? authorities : throw new CryptographicException($"{options.CaFile} has no certificate");
    }

    private static IReadOnlyList<X509Certificate2> ReadPem(byte[] bytes)
    {
        var all = new X509Certificate2Collection();
        all.ImportFromPem(System.Text.Encoding.UTF8.GetString(bytes));
        return [.. all];
    }

    private void WriteAuthorities(IReadOnlyList<X509Certificate2> authorities)
        => WriteAtomic(options.CaFile, string.Join('\n', authorities.Select(one => one.ExportCertificatePem())), secret: false);

    // A token names the CA of its time, and stays in the config long after: CAs that this cloud has given up count too.
    private bool IsOfThisCloud(JoinToken token, IReadOnlyList<X509Certificate2> authorities)
        => authorities.Any(one => token.IsFor(one.RawData)) || FormerHashes().Contains(token.CaHash);

    private string[] FormerHashes()
        => File.Exists(FormerFile) ? File.ReadAllText(FormerFile).Split('\n', StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries) : [];

    private static string Hash(byte[] der) => Convert.ToHexStringLower(SHA256.HashData(der));

    private string Url(string path) => options.HttpServer.TrimEnd('/') + path;

    private static void WriteAtomic(string path, string text, bool secret)
    {
        var directory = Path.GetDirectoryName(Path.GetFullPath(path))!;
        Directory.CreateDirectory(directory, UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute);
        var aside = path + ".tmp";
        File.Delete(aside);
        var mode = UnixFileMode.UserRead | UnixFileMode.UserWrite | (secret ? 0 : UnixFileMode.GroupRead | UnixFileMode.OtherRead);
        using (var file = new FileStream(aside, new FileStreamOptions { Mode = FileMode.CreateNew, Access = FileAccess.Write, UnixCreateMode = mode }))
        {
            file.Write(System.Text.Encoding.ASCII.GetBytes(text + "\n"));
            file.Flush(flushToDisk: true);
        }

        File.Move(aside, path, overwrite: true);
    }

    private static string Excerpt(byte[] body)
    {
        var text = System.Text.Encoding.UTF8.GetString(body.AsSpan(0, Math.Min(body.Length, 300))).Trim();
        return text.Length == 0 ? "no reason given" : new string([.. text.Where(c => !char.IsControl(c))]);
    }

    internal static string Innermost(Exception e)
    {
        while (e.InnerException is { } inner)
            e = inner;
        return e.Message;
    }
}
