using System.Globalization;
using System.Text.Json.Nodes;
using Edge.Kubernetes;
using Microsoft.AspNetCore.Http;

namespace Edge.Core.MetaManager.MetaServer;

/// <summary>Writes answers as Kubernetes does.</summary>
internal static class KubeResponse
{
    /// <summary>Where an answer comes from: <c>node</c> (what it holds), <c>cloud</c> or <c>cache</c>.</summary>
    public const string SourceHeader = "Edge-Source";

    public static async Task WriteAsync(HttpContext context, int code, ReadOnlyMemory<byte> body, string contentType = "application/json")
    {
        context.Response.StatusCode = code;
        context.Response.ContentType = contentType;
        context.Response.ContentLength = body.Length;
        if (!HttpMethods.IsHead(context.Request.Method))
            await context.Response.Body.WriteAsync(body, context.RequestAborted);
    }

    public static Task WriteAsync(HttpContext context, int code, JsonNode body) => WriteAsync(context, code, JsonReading.Bytes(body));

    /// <summary>Says, in the way that kubectl and client-go show (RFC 7234 §5.5), that the cloud is away and how old the answer is.</summary>
    public static void Warn(HttpContext context, DateTimeOffset? at, string node)
    {
        var text = at is { } time ? $"the cloud is not connected; this is what node {node} read at {KubeObject.Time(time)}" : $"the cloud is not connected; this is what node {node} holds";
        context.Response.Headers.Append("Warning", $"299 - \"{text}\"");
    }

    public static bool IsTable(HttpRequest request) => request.Headers.Accept.ToString().Contains("as=Table;", StringComparison.Ordinal) && request.Headers.Accept.ToString().Contains("v=v1", StringComparison.Ordinal);

    public static bool Flag(HttpRequest request, string name) => request.Query[name].ToString() is "true" or "1" or "True";

    /// <exception cref="MetaServerException">400.</exception>
    public static long Number(HttpRequest request, string name)
    {
        var text = request.Query[name].ToString();
        return text.Length == 0 ? 0 : long.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out var number) ? number
            : throw MetaServerException.BadRequest($"{name}: Invalid value: \"{text}\": must be a whole number");
    }

    /// <summary>How long a watch may last: as asked, else a time between 30 and 60 minutes, as Kubernetes has it.</summary>
    public static TimeSpan WatchTime(HttpRequest request, Random random)
    {
        const int dayMax = 24;
        if (Number(request, "timeoutSeconds") is > 0 and var seconds)
            return TimeSpan.FromSeconds(Math.Min(seconds, dayMax * 86_400));
        lock (random)
            return TimeSpan.FromSeconds(1800 + random.Next(1800));
    }
}

/// <summary>One JSON event a line.</summary>
internal sealed class WatchLines(HttpContext context)
{
    public async Task BeginAsync()
    {
        context.Response.StatusCode = 200;
        context.Response.ContentType = "application/json";
        context.Response.Headers.CacheControl = "no-cache, private";
        await context.Response.StartAsync(context.RequestAborted);
        await context.Response.Body.FlushAsync(context.RequestAborted); // the client sees that it is connected before anything happens
    }

    public async Task WriteAsync(string type, JsonObject obj, CancellationToken cancellationToken)
    {
        await context.Response.Body.WriteAsync(JsonReading.Bytes(new JsonObject { ["type"] = type, ["object"] = obj.DeepClone() }), cancellationToken);
        await context.Response.Body.WriteAsync("\n"u8.ToArray(), cancellationToken);
    }

    public async Task WriteAsync(ReadOnlyMemory<byte> lines, CancellationToken cancellationToken) => await context.Response.Body.WriteAsync(lines, cancellationToken);

    public Task FlushAsync(CancellationToken cancellationToken) => context.Response.Body.FlushAsync(cancellationToken);
}
