using System.Net;
using System.Net.Http.Headers;
using System.Net.Sockets;
using System.Text.Json;
using Edge.Common;

namespace Edge.Cloud.Router;

internal enum DeliveryOutcome
{
    /// <summary>The target took it (2xx).</summary>
    Taken,

    /// <summary>The target refuses it, and will each time.</summary>
    Refused,

    /// <summary>It did not work now and may later.</summary>
    Failed,
}

/// <param name="Error">Why it was not taken; empty when it was.</param>
internal sealed record Delivered(DeliveryOutcome Outcome, string Error, byte[] Body);

/// <summary>Posts messages of edges to HTTP services in the cloud. Safe for concurrent calls.</summary>
internal sealed class RestTarget(TimeProvider time, Random random, TargetAccess access) : IDisposable
{
    /// <summary>Largest answer that is read, bytes: a ServiceBus takes no larger one.</summary>
    public const int AnswerMax = 5_000_000;

    private static readonly TimeSpan s_tryWithin = TimeSpan.FromSeconds(10);
    private static readonly TimeSpan s_retryFirst = TimeSpan.FromMilliseconds(200);
    private static readonly TimeSpan s_retryMost = TimeSpan.FromSeconds(5);

    // A redirect would make a GET of the POST, and a proxy resolve names in our stead.
    private readonly HttpClient _http = new(new SocketsHttpHandler
    {
        AllowAutoRedirect = false, PooledConnectionLifetime = TimeSpan.FromMinutes(2), UseCookies = false, UseProxy = false,
        ConnectCallback = (context, cancellationToken) => ConnectAsync(access, context.DnsEndPoint, cancellationToken),
    })
    {
        Timeout = Timeout.InfiniteTimeSpan, MaxResponseContentBufferSize = AnswerMax,
    };

    /// <summary>Posts, again after a growing pause where it may help, at most <paramref name="triesMax"/> times.</summary>
    /// <param name="id">The same at each try, for targets that must not take a message twice.</param>
    public async Task<Delivered> PostAsync(Uri url, byte[] body, string id, string node, string topic, int triesMax, CancellationToken cancellationToken)
    {
        for (var tries = 1; ; tries++)
        {
            var delivered = await TryPostAsync(url, body, id, node, topic, cancellationToken);
            if (delivered.Outcome != DeliveryOutcome.Failed || tries >= triesMax)
                return delivered;
            TimeSpan pause;
            lock (random)
                pause = Backoff.FullJitter(tries, s_retryFirst, s_retryMost, random);
            await Task.Delay(pause, time, cancellationToken);
        }
    }

    /// <summary>Passes an HTTP call on, once.</summary>
    public async Task<HttpReply> CallAsync(Uri url, HttpCall call, CancellationToken cancellationToken)
    {
        var whole = call.Rest.Length == 0 ? url.GetLeftPart(UriPartial.Path) : $"{url.GetLeftPart(UriPartial.Path).TrimEnd('/')}/{call.Rest}";
        using var request = new HttpRequestMessage(new HttpMethod(call.Method), whole + (url.Query.Length == 0 ? call.Query : call.Query.Length == 0 ? url.Query : $"{url.Query}&{call.Query[1..]}"));
        request.Content = new ByteArrayContent(call.Body);
        foreach (var (name, value) in call.Headers.Where(header => RouterMessages.IsForwarded(header.Key)))
        {
            if (!request.Headers.TryAddWithoutValidation(name, value))
                request.Content.Headers.TryAddWithoutValidation(name, value);
        }

        using var response = await _http.SendAsync(request, cancellationToken);
        var headers = response.Headers.Concat(response.Content.Headers).SelectMany(header => header.Value.Select(value => KeyValuePair.Create(header.Key, value)));
        return new HttpReply((int)response.StatusCode, [.. headers.Where(header => RouterMessages.IsForwarded(header.Key))], await response.Content.ReadAsByteArrayAsync(cancellationToken));
    }

    public void Dispose() => _http.Dispose();

    // Here the name is resolved for good: what was looked up before may lead elsewhere by now.
    private static async ValueTask<Stream> ConnectAsync(TargetAccess access, DnsEndPoint target, CancellationToken cancellationToken)
    {
        var addresses = IPAddress.TryParse(target.Host, out var address) ? [address] : await Dns.GetHostAddressesAsync(target.Host, cancellationToken);
        var allowed = addresses.Where(one => access.Allows(target.Host, one)).ToArray();
        if (allowed.Length == 0)
        {
            throw new IOException($"'{target.Host}' is {string.Join(", ", addresses.AsEnumerable())}, of cloudcore's own machine or link, where Rules do not lead; "
                + "if they may, list it in modules.router.allowTargets");
        }

        var socket = new Socket(SocketType.Stream, ProtocolType.Tcp) { NoDelay = true };
        try
        {
            await socket.ConnectAsync(allowed, target.Port, cancellationToken);
            return new NetworkStream(socket, ownsSocket: true);
        }
        catch
        {
            socket.Dispose();
            throw;
        }
    }

    private async Task<Delivered> TryPostAsync(Uri url, byte[] body, string id, string node, string topic, CancellationToken cancellationToken)
    {
        using var limit = new CancellationTokenSource(s_tryWithin, time);
        using var both = CancellationTokenSource.CreateLinkedTokenSource(limit.Token, cancellationToken);
        using var request = new HttpRequestMessage(HttpMethod.Post, url) { Content = new ByteArrayContent(body) };
        request.Content.Headers.ContentType = new MediaTypeHeaderValue(IsJson(body) ? "application/json" : "text/plain");
        request.Headers.Add("X-Edge-Message-Id", id);
        request.Headers.Add("X-Edge-Node", node);
        request.Headers.TryAddWithoutValidation("X-Edge-Topic", Uri.EscapeDataString(topic));
        try
        {
            using var response = await _http.SendAsync(request, both.Token);
            var answer = await response.Content.ReadAsByteArrayAsync(both.Token);
            var status = (int)response.StatusCode;
            return response.IsSuccessStatusCode ? new Delivered(DeliveryOutcome.Taken, "", answer)
                : new Delivered(MayWorkLater(response.StatusCode) ? DeliveryOutcome.Failed : DeliveryOutcome.Refused, $"{url} answered {status}", answer);
        }
        catch (Exception e) when (e is HttpRequestException or IOException or SocketException)
        {
            return new Delivered(DeliveryOutcome.Failed, $"{url}: {e.Message}", []);
        }
        catch (OperationCanceledException) when (!cancellationToken.IsCancellationRequested)
        {
            return new Delivered(DeliveryOutcome.Failed, $"{url} did not answer within {s_tryWithin.TotalSeconds:0} s", []);
        }
    }

    // Not 404: a service that is being rolled out answers so through its ingress.
    private static bool MayWorkLater(HttpStatusCode code)
        => (int)code >= 500 || code is HttpStatusCode.RequestTimeout or HttpStatusCode.TooManyRequests or HttpStatusCode.NotFound or HttpStatusCode.Unauthorized or HttpStatusCode.Forbidden;

    private static bool IsJson(byte[] body)
    {
        try
        {
            var reader = new Utf8JsonReader(body);
            while (reader.Read())
            {
                // To its end.
            }

            return body.Length > 0;
        }
        catch (JsonException)
        {
            return false;
        }
    }
}
