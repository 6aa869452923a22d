using System.Net;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using Edge.Core.Configuration;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Server.Kestrel.Core;
using Microsoft.AspNetCore.Server.Kestrel.Https;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging;

namespace Edge.Core.Edged.LocalApi;

/// <summary>The listening half of the local API: Kestrel with HTTP/1.1, which upgrades need, and TLS when there is a certificate.</summary>
internal sealed class LocalApiServer : IAsyncDisposable
{
    private const int ConnectionsMax = 256;

    // An exec carries its command in the query.
    private const int RequestLineMax = 64 * 1024;
    private const string ClientAuthOid = "1.3.6.1.5.5.7.3.2";

    private readonly WebApplication _app;

    private LocalApiServer(WebApplication app, int port)
    {
        _app = app;
        Port = port;
    }

    public int Port { get; }

    /// <exception cref="IOException">The address is in use or not this machine's.</exception>
    /// <exception cref="LocalApiException">The certificate cannot be used, or none is there and the address is not loopback.</exception>
    public static async Task<LocalApiServer> StartAsync(LocalApiOptions options, RequestDelegate handle, CancellationToken cancellationToken)
    {
        var address = IPAddress.Parse(options.Address);
        if (!IPAddress.IsLoopback(address) && !options.HasTls)
            throw new LocalApiException($"{address} can be reached by others; set tlsCertFile and tlsPrivateKeyFile, or address 127.0.0.1");
        var https = options.HasTls ? Https(options) : null;
        var builder = WebApplication.CreateSlimBuilder();
        builder.Logging.ClearProviders();
        builder.Services.Configure<Microsoft.Extensions.Hosting.HostOptions>(host => host.ShutdownTimeout = TimeSpan.FromSeconds(1));
        builder.WebHost.ConfigureKestrel(kestrel =>
        {
            kestrel.AddServerHeader = false;
            kestrel.Limits.MaxConcurrentConnections = ConnectionsMax;
            kestrel.Limits.MaxConcurrentUpgradedConnections = ConnectionsMax;
            kestrel.Limits.MaxRequestLineSize = RequestLineMax;
            // Who follows a log may pause as long as he likes.
            kestrel.Limits.MinResponseDataRate = null;
            kestrel.Listen(address, options.Port, listen =>
            {
                listen.Protocols = HttpProtocols.Http1;
                if (https is not null)
                    listen.UseHttps(https);
            });
        });
        var app = builder.Build();
        app.Run(handle);
        try
        {
            await app.StartAsync(cancellationToken);
        }
        catch
        {
            await app.DisposeAsync();
            throw;
        }

        return new LocalApiServer(app, new Uri(app.Urls.First()).Port);
    }

    public async ValueTask DisposeAsync()
    {
        await _app.StopAsync();
        await _app.DisposeAsync();
    }

    private static HttpsConnectionAdapterOptions Https(LocalApiOptions options)
    {
        try
        {
            var https = new HttpsConnectionAdapterOptions { ServerCertificate = X509Certificate2.CreateFromPemFile(options.TlsCertificateFile, options.TlsKeyFile) };
            if (options.ClientCaFile.Length == 0)
                return https;
            var authorities = new X509Certificate2Collection();
            authorities.ImportFromPemFile(options.ClientCaFile);
            https.ClientCertificateMode = ClientCertificateMode.AllowCertificate;
            https.ClientCertificateValidation = (certificate, sent, _) => IsSigned(certificate, sent, authorities);
            return https;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or CryptographicException)
        {
            throw new LocalApiException($"tlsCertFile {options.TlsCertificateFile}, tlsPrivateKeyFile {options.TlsKeyFile} or authentication.x509.clientCAFile '{options.ClientCaFile}' cannot be used: {e.Message}", e);
        }
    }

    private static bool IsSigned(X509Certificate2 certificate, X509Chain? sent, X509Certificate2Collection authorities)
    {
        using var chain = new X509Chain();
        chain.ChainPolicy.TrustMode = X509ChainTrustMode.CustomRootTrust;
        chain.ChainPolicy.CustomTrustStore.AddRange(authorities);
        chain.ChainPolicy.RevocationMode = X509RevocationMode.NoCheck;
        chain.ChainPolicy.ApplicationPolicy.Add(new Oid(ClientAuthOid));
        if (sent is not null)
            chain.ChainPolicy.ExtraStore.AddRange(sent.ChainPolicy.ExtraStore);
        return chain.Build(certificate);
    }
}
