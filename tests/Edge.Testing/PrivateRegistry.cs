using System.Collections.Concurrent;
using System.Formats.Tar;
using System.Text;
using System.Text.Json.Nodes;
using Edge.Kubernetes;
using Edge.Local.Images;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Hosting.Server;
using Microsoft.AspNetCore.Hosting.Server.Features;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging;

namespace Edge.Testing;

/// <summary>A registry that serves one image in any repository over plain HTTP to who names the right user (distribution specification 1.0, pull only; RFC 7617).</summary>
public sealed class PrivateRegistry : IAsyncDisposable
{
    private readonly WebApplication _app;
    private readonly Dictionary<string, (string Type, byte[] Bytes)> _blobs = new(StringComparer.Ordinal);
    private string _manifest = "";

    private PrivateRegistry(WebApplication app) => _app = app;

    /// <summary>The <c>user:password</c> that each repository wants.</summary>
    public ConcurrentDictionary<string, string> Users { get; } = new(StringComparer.Ordinal);

    /// <summary>What was told as <c>repository user</c>, refused or not; without a credential the user is <c>-</c>.</summary>
    public ConcurrentQueue<string> Seen { get; } = [];

    /// <summary><c>localhost:port</c>, which containerd speaks plain HTTP with.</summary>
    public string Host { get; private set; } = "";

    public static async Task<PrivateRegistry> StartAsync(OciImage image)
    {
        var builder = WebApplication.CreateSlimBuilder();
        builder.Logging.ClearProviders();
        builder.WebHost.UseUrls("http://127.0.0.1:0");
        var registry = new PrivateRegistry(builder.Build());
        using var archive = new MemoryStream();
        image.Write(archive);
        archive.Position = 0;
        await registry.LoadAsync(archive);
        registry._app.Run(registry.ServeAsync);
        await registry._app.StartAsync();
        registry.Host = "localhost:" + new Uri(registry._app.Services.GetRequiredService<IServer>().Features.Get<IServerAddressesFeature>()!.Addresses.Single()).Port;
        return registry;
    }

    public async ValueTask DisposeAsync() => await _app.DisposeAsync();

    private async Task LoadAsync(Stream archive)
    {
        await using var tar = new TarReader(archive);
        JsonObject index = [];
        while (await tar.GetNextEntryAsync(copyData: true) is { } entry)
        {
            using var content = new MemoryStream();
            if (entry.DataStream is not null)
                await entry.DataStream.CopyToAsync(content);
            if (entry.Name == "index.json")
                index = (JsonObject)JsonNode.Parse(content.ToArray())!;
            else if (entry.Name.StartsWith("blobs/sha256/", StringComparison.Ordinal))
                _blobs["sha256:" + entry.Name["blobs/sha256/".Length..]] = ("application/octet-stream", content.ToArray());
        }

        var manifest = index.Items("manifests").Single();
        _manifest = manifest.Text("digest");
        _blobs[_manifest] = (manifest.Text("mediaType"), _blobs[_manifest].Bytes);
    }

    private async Task ServeAsync(HttpContext context)
    {
        var path = context.Request.Path.Value!;
        var kind = path.Contains("/manifests/", StringComparison.Ordinal) ? "/manifests/" : "/blobs/";
        var at = path.IndexOf(kind, StringComparison.Ordinal);
        var repository = at < 0 ? "" : path["/v2/".Length..at];
        var header = context.Request.Headers.Authorization.ToString();
        var told = header.StartsWith("Basic ", StringComparison.Ordinal) ? Encoding.UTF8.GetString(Convert.FromBase64String(header["Basic ".Length..])) : "-:";
        Seen.Enqueue($"{repository} {told.Split(':')[0]}");
        if (!Users.TryGetValue(repository, out var wanted) || told != wanted)
        {
            context.Response.StatusCode = 401;
            context.Response.Headers.WWWAuthenticate = "Basic realm=\"private\"";
            return;
        }

        var reference = path[(at + kind.Length)..];
        var digest = kind == "/manifests/" && !reference.StartsWith("sha256:", StringComparison.Ordinal) ? _manifest : reference;
        if (!_blobs.TryGetValue(digest, out var blob))
        {
            context.Response.StatusCode = 404;
            return;
        }

        context.Response.ContentType = blob.Type;
        context.Response.ContentLength = blob.Bytes.Length;
        context.Response.Headers["Docker-Content-Digest"] = digest;
        if (!HttpMethods.IsHead(context.Request.Method))
            await context.Response.Body.WriteAsync(blob.Bytes);
    }
}
