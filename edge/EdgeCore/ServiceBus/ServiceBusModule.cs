using System.Collections.Immutable;
using System.Diagnostics.Metrics;
using System.Text;
using System.Text.Json;
using System.Text.Json.Nodes;
using System.Threading.Channels;
using Edge.Common.Storage;
using Edge.Core.Configuration;
using Edge.Core.EdgeHub;
using Edge.Core.MetaManager;
using Edge.Kubernetes;
using Edge.Protocol.Messages;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Server.Kestrel.Core;
using Microsoft.Extensions.Logging;

namespace Edge.Core.ServiceBus;

/// <summary>HTTP of Rules at this node (kubeedge-wire §5.6): the cloud's requests go to services on 127.0.0.1, and applications here reach the URLs that Rules name through a local server.</summary>
public sealed class ServiceBusModule : IEdgeModule
{
    // Requests of the cloud that wait, and that are under way.
    private const int WaitingMax = 256;
    private const int CallsMax = 16;
    private const int UrlsMax = 10_000;
    private const int BodyMax = 5_000_000;

    private static readonly Meter s_meter = new("Edge.Core.ServiceBus");
    private static readonly Counter<long> s_calls = s_meter.CreateCounter<long>("edge_servicebus_calls", description: "Requests of the cloud to services of this node");

    private readonly EdgeServices _services;
    private readonly ServiceBusOptions _options;
    private readonly ILogger _log;
    private readonly LocalRows _rows = new("rules-urls");

    // Wait, with TryWrite: a full queue is told to the cloud.
    private readonly Channel<Message> _waiting = Channel.CreateBounded<Message>(new BoundedChannelOptions(WaitingMax) { SingleReader = true, FullMode = BoundedChannelFullMode.Wait });
    private volatile ImmutableHashSet<string> _urls = [];

    public ServiceBusModule(EdgeServices services)
    {
        _services = services;
        _options = services.Options.ServiceBus;
        _log = services.Loggers.CreateLogger("servicebus");
    }

    public string Name => "servicebus";

    /// <summary>Where applications of this node send their requests; 0 while it is not served.</summary>
    public int Port { get; private set; }

    /// <summary>Called when <see cref="Port"/> is known.</summary>
    public Action? Listening { get; set; }

    /// <summary>Takes a message of the cloud's router. False: too many wait. Never waits.</summary>
    internal bool TryTake(Message message) => _waiting.Writer.TryWrite(message);

    public async Task RunAsync(CancellationToken cancellationToken)
    {
        _urls = [.. _rows.Keys(_services.Meta)];
        using var caller = new ServiceCaller(_services.Time);
        using var turns = new SemaphoreSlim(CallsMax);
        var calls = new HashSet<Task>();
        await using var server = await ListenAsync(cancellationToken);
        Port = new Uri(server.Urls.First()).Port;
        ServiceBusLog.Listening(_log, server.Urls.First(), _urls.Count);
        Listening?.Invoke();
        try
        {
            await foreach (var message in _waiting.Reader.ReadAllAsync(cancellationToken))
            {
                if (message.Operation is Operations.Start or Operations.Stop or Operations.Update)
                {
                    await ApplyAsync(message, cancellationToken);
                    continue;
                }

                await turns.WaitAsync(cancellationToken);
                calls.RemoveWhere(task => task.IsCompleted);
                calls.Add(CallAsync(caller, message, turns, cancellationToken));
            }
        }
        catch (OperationCanceledException) when (cancellationToken.IsCancellationRequested)
        {
            // Stopping.
        }
        finally
        {
            Port = 0;
            await Task.WhenAll(calls);
            using var soon = new CancellationTokenSource(TimeSpan.FromSeconds(1));
            await server.StopAsync(soon.Token);
        }
    }

    private async Task CallAsync(ServiceCaller caller, Message message, SemaphoreSlim turns, CancellationToken cancellationToken)
    {
        try
        {
            s_calls.Add(1);
            await _services.Answer(await caller.CallAsync(message, cancellationToken), cancellationToken);
        }
        catch (OperationCanceledException) when (cancellationToken.IsCancellationRequested)
        {
            // Stopping; the cloud's request times out.
        }
        finally
        {
            turns.Release();
        }
    }

    private async Task ApplyAsync(Message message, CancellationToken cancellationToken)
    {
        var wanted = message.Operation switch
        {
            Operations.Start => _urls.Add(message.Resource),
            Operations.Stop => _urls.Remove(message.Resource),
            _ when message.Resource == RouterResources.Urls => ReadSet(message.Content),
            _ => null,
        };
        if (wanted is null || wanted.Count > UrlsMax)
        {
            ServiceBusLog.BadUrls(_log, message.Resource, wanted is null ? $"'{message.Operation}' with this content is not known" : $"there would be more than {UrlsMax}");
            return;
        }

        if (wanted.SetEquals(_urls))
            return;
        try
        {
            foreach (var url in wanted.Except(_urls))
                await _rows.PutAsync(_services.Meta, url, [], cancellationToken);
            foreach (var url in _urls.Except(wanted))
                await _rows.DeleteAsync(_services.Meta, url, cancellationToken);
        }
        catch (StoreException e)
        {
            // It holds until the next start, and then the cloud tells it again.
            ServiceBusLog.BadUrls(_log, message.Resource, $"it could not be stored: {e.Message}");
        }

        _urls = wanted;
        ServiceBusLog.UrlsChanged(_log, wanted.Count);
    }

    private async Task<WebApplication> ListenAsync(CancellationToken cancellationToken)
    {
        var builder = WebApplication.CreateSlimBuilder();
        builder.Logging.ClearProviders();
        builder.WebHost.ConfigureKestrel(kestrel =>
        {
            kestrel.AddServerHeader = false;
            kestrel.Limits.MaxConcurrentConnections = 64;
            kestrel.Limits.MaxRequestBodySize = BodyMax;
            kestrel.Listen(_options.Server, listen => listen.Protocols = HttpProtocols.Http1);
        });
        var app = builder.Build();
        app.Run(ServeAsync);
        try
        {
            await app.StartAsync(cancellationToken);
            return app;
        }
        catch
        {
            await app.DisposeAsync();
            throw;
        }
    }

    private async Task ServeAsync(HttpContext context)
    {
        try
        {
            using var body = new MemoryStream();
            await context.Request.Body.CopyToAsync(body, context.RequestAborted);
            var (code, text, answer) = await AskAsync(body.ToArray(), context.RequestAborted);
            context.Response.StatusCode = code;
            context.Response.ContentType = "application/json";
            await context.Response.WriteAsync(new JsonObject { ["code"] = code, ["msg"] = text, ["body"] = answer }.ToJsonString(), context.RequestAborted);
        }
        catch (Microsoft.AspNetCore.Http.BadHttpRequestException e)
        {
            context.Response.StatusCode = e.StatusCode;
            await context.Response.WriteAsync(new JsonObject { ["code"] = e.StatusCode, ["msg"] = e.Message, ["body"] = "" }.ToJsonString(), context.RequestAborted);
        }
        catch (OperationCanceledException) when (context.RequestAborted.IsCancellationRequested)
        {
            // Nobody waits any more.
        }
    }

    private async Task<(int Code, string Text, string Body)> AskAsync(byte[] body, CancellationToken cancellationToken)
    {
        JsonObject? request;
        try
        {
            request = JsonNode.Parse(body) as JsonObject;
        }
        catch (JsonException)
        {
            request = null;
        }

        var url = request.Text("targetURL");
        if (request is null || url.Length == 0)
            return (400, "invalid params: the body is JSON with method, targetURL and payload", "");
        if (!_urls.Contains(url))
            return (400, $"url {url} is not allowed: no Rule for this node has this target_url", "");
        var payload = request["payload"];
        var text = payload is JsonValue value && value.TryGetValue<string>(out var given) ? given : payload?.ToJsonString() ?? "";
        var message = Message.Create(_services.Time, Sources.ServiceBus, Groups.User, Operations.Upload, url, MessageCodec.JsonString(text));
        try
        {
            var answer = await _services.Uplink.RequestAsync(message, _options.Timeout, cancellationToken);
            var said = Encoding.UTF8.GetString(MessageCodec.Unwrap(answer.Content).Span);
            return answer.Operation == Operations.Error ? (502, said, "") : (200, "receive response from cloud successfully", said);
        }
        catch (UplinkException e)
        {
            return (504, e.Message, "");
        }
    }

    private static ImmutableHashSet<string>? ReadSet(ReadOnlyMemory<byte> content)
    {
        try
        {
            return JsonNode.Parse(content.Span) is JsonArray list && list.All(one => one is JsonValue value && value.TryGetValue<string>(out _)) ? [.. list.Select(one => one!.GetValue<string>())] : null;
        }
        catch (JsonException)
        {
            return null;
        }
    }
}

/// <summary>Ids 3600-3609.</summary>
internal static partial class ServiceBusLog
{
    [LoggerMessage(3600, LogLevel.Information, "The ServiceBus listens on {Address} and takes {Count} URLs.")]
    public static partial void Listening(ILogger logger, string address, int count);

    [LoggerMessage(3601, LogLevel.Information, "The cloud's rules take {Count} URLs of this node.")]
    public static partial void UrlsChanged(ILogger logger, int count);

    [LoggerMessage(3602, LogLevel.Warning, "The URLs of the cloud's rules stay as they are after {Resource}: {Reason}.")]
    public static partial void BadUrls(ILogger logger, string resource, string reason);
}
