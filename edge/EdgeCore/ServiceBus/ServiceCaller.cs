using System.Globalization;
using System.Text.Json;
using System.Text.Json.Nodes;
using Edge.Protocol.Messages;

namespace Edge.Core.ServiceBus;

/// <summary>Calls HTTP services of this node for the cloud: <c>&lt;port&gt;:&lt;path&gt;</c> on 127.0.0.1 (kubeedge-wire §5.6). Safe for concurrent calls.</summary>
internal sealed class ServiceCaller(TimeProvider time) : IDisposable
{
    /// <summary>Largest answer of a service, bytes.</summary>
    public const int BodyMax = 5_000_000;

    private static readonly TimeSpan s_within = TimeSpan.FromSeconds(10);
    private static readonly HashSet<string> s_dropped = new(StringComparer.OrdinalIgnoreCase)
    {
        "Connection", "Keep-Alive", "Transfer-Encoding", "Upgrade", "Host", "Content-Length", "Expect", "TE", "Trailer",
    };

    private readonly HttpClient _http = new(new SocketsHttpHandler { AllowAutoRedirect = false, UseCookies = false, UseProxy = false, PooledConnectionLifetime = TimeSpan.FromMinutes(2) })
    {
        Timeout = Timeout.InfiniteTimeSpan, MaxResponseContentBufferSize = BodyMax,
    };

    /// <summary>The answer for the cloud; what goes wrong is an answer too.</summary>
    public async Task<Message> CallAsync(Message message, CancellationToken cancellationToken)
    {
        if (Read(message, out var problem) is not { } request)
            return RuleAnswers.Of(time, message, 400, problem);
        using var limit = new CancellationTokenSource(s_within, time);
        using var both = CancellationTokenSource.CreateLinkedTokenSource(limit.Token, cancellationToken);
        try
        {
            using var response = await _http.SendAsync(request, both.Token);
            var headers = new JsonObject();
            foreach (var (name, values) in response.Headers.Concat(response.Content.Headers))
            {
                if (!s_dropped.Contains(name))
                    headers[name] = new JsonArray([.. values.Select(value => (JsonNode)value)]);
            }

            return RuleAnswers.Of(time, message, (int)response.StatusCode, headers, await response.Content.ReadAsByteArrayAsync(both.Token));
        }
        catch (HttpRequestException e) when (e.HttpRequestError == HttpRequestError.ConfigurationLimitExceeded)
        {
            return RuleAnswers.Of(time, message, 500, $"the service's answer is larger than {BodyMax} bytes");
        }
        catch (Exception e) when (e is HttpRequestException or IOException)
        {
            return RuleAnswers.Of(time, message, 404, $"error to call service {request.RequestUri}: {e.Message}");
        }
        catch (OperationCanceledException) when (!cancellationToken.IsCancellationRequested)
        {
            return RuleAnswers.Of(time, message, 504, $"{request.RequestUri} did not answer within {s_within.TotalSeconds:0} s");
        }
        finally
        {
            request.Dispose();
        }
    }

    public void Dispose() => _http.Dispose();

    private static HttpRequestMessage? Read(Message message, out string problem)
    {
        var colon = message.Resource.IndexOf(':', StringComparison.Ordinal);
        if (colon <= 0 || !int.TryParse(message.Resource[..colon], NumberStyles.None, CultureInfo.InvariantCulture, out var port) || port is < 1 or > 65535
            || !Uri.TryCreate($"http://127.0.0.1:{port}/{message.Resource[(colon + 1)..].TrimStart('/')}", UriKind.Absolute, out var url))
        {
            problem = $"the format of resource '{message.Resource}' is incorrect; it is <port>:<path>";
            return null;
        }

        try
        {
            var content = JsonNode.Parse(MessageCodec.Unwrap(message.Content).Span) as JsonObject;
            JsonNode? Find(string key) => content?.FirstOrDefault(pair => pair.Key.Equals(key, StringComparison.OrdinalIgnoreCase)).Value;
            var request = new HttpRequestMessage(new HttpMethod(message.Operation), url)
            {
                Content = new ByteArrayContent(Find("body") is JsonValue body && body.TryGetValue<string>(out var text) ? Convert.FromBase64String(text) : []),
            };
            foreach (var (name, values) in Find("header") as JsonObject ?? [])
            {
                var lines = values is JsonArray list ? list.Select(one => one is JsonValue value && value.TryGetValue<string>(out var line) ? line : "").ToList() : [];
                if (!s_dropped.Contains(name) && !request.Headers.TryAddWithoutValidation(name, lines))
                    request.Content.Headers.TryAddWithoutValidation(name, lines);
            }

            problem = "";
            return request;
        }
        catch (Exception e) when (e is JsonException or FormatException or ArgumentException)
        {
            problem = $"error to parse http request: {e.Message}";
            return null;
        }
    }
}
