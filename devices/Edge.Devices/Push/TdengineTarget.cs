using System.Globalization;
using System.Net.Http.Headers;
using System.Text;
using System.Text.Json;
using System.Text.Json.Nodes;

namespace Edge.Devices.Push;

/// <summary>TDengine 3 over its REST API (<c>POST /rest/sql/DATABASE</c>, https://docs.tdengine.com/tdengine-reference/client-libraries/rest-api/), with the columns of KubeEdge's mappers: a
/// super table <c>NAMESPACE/DEVICE</c> for each device, and in it a table <c>NAMESPACE/DEVICE/PROPERTY</c> for each property.</summary>
/// <remarks>A row has its time as the key, so that a batch that is repeated adds nothing twice.</remarks>
/// <param name="sql">The address with the database.</param>
internal sealed class TdengineTarget(Uri sql, PushCredentials credentials, TimeSpan timeout) : HttpTarget($"tdengine {sql}", sql, timeout)
{
    /// <summary>Characters of a value; longer ones are cut.</summary>
    private const int ValueMax = 2000;

    // Super tables that are known to be there: they are made once, and again after a restart, which does no harm.
    private readonly HashSet<string> _made = [];

    protected override MediaTypeHeaderValue ContentType { get; } = new("text/plain") { CharSet = "utf-8" };

    protected override void Authorize(HttpRequestHeaders headers)
    {
        if (credentials.UserName.Length > 0)
            headers.Authorization = new AuthenticationHeaderValue("Basic", Convert.ToBase64String(Encoding.UTF8.GetBytes($"{credentials.UserName}:{credentials.Password}")));
    }

    // The API takes one statement a request.
    protected override async Task PushBodiesAsync(IReadOnlyList<Sample> batch, Func<byte[], Task> post)
    {
        foreach (var table in batch.Select(DeviceTable).Distinct().Where(table => !_made.Contains(table)).ToList())
        {
            await post(Encoding.UTF8.GetBytes(
                $"CREATE STABLE IF NOT EXISTS {Quote(table)} (ts TIMESTAMP, deviceid NCHAR(128), propertyname NCHAR(128), data NCHAR({ValueMax}), type NCHAR(16)) TAGS (location NCHAR(128))"));
            _made.Add(table);
        }

        await post(Write(batch));
    }

    protected internal override byte[] Write(IReadOnlyList<Sample> batch)
    {
        var text = new StringBuilder("INSERT INTO");
        foreach (var property in batch.GroupBy(sample => (Device: DeviceTable(sample), sample.Property)))
        {
            text.Append(CultureInfo.InvariantCulture, $" {Quote($"{property.Key.Device}/{property.Key.Property}")} USING {Quote(property.Key.Device)} TAGS ({Text(property.Key.Property)}) VALUES");
            foreach (var sample in property)
            {
                var at = DateTimeOffset.FromUnixTimeMilliseconds(sample.TimestampMs).ToString("yyyy-MM-dd'T'HH:mm:ss.fff'Z'", CultureInfo.InvariantCulture);
                text.Append(CultureInfo.InvariantCulture, $" ({Text(at)}, {Text(property.Key.Device)}, {Text(sample.Property)}, {Text(sample.Value)}, {Text(sample.Type)})");
            }
        }

        return Encoding.UTF8.GetBytes(text.ToString());
    }

    // {"code":0, …} or {"code":534,"desc":"…"}, mostly with status 200.
    protected override async Task CheckAsync(HttpContent answer, CancellationToken cancellationToken)
    {
        int? code;
        string said;
        try
        {
            var json = await JsonNode.ParseAsync(await answer.ReadAsStreamAsync(cancellationToken), cancellationToken: cancellationToken) as JsonObject;
            code = json?["code"] is JsonValue value && value.TryGetValue<int>(out var number) ? number : null;
            said = (json?["desc"] as JsonValue)?.ToString() ?? "";
        }
        catch (JsonException e)
        {
            throw new PushException($"its answer is none of TDengine: {e.Message}", isFinal: false, e);
        }

        if (code == 0)
            return;
        _made.Clear(); // the table may have been dropped
        if (code is null)
            throw new PushException("its answer is none of TDengine: it has no code", isFinal: false);

        // 0x2600 to 0x26ff are the parser's: the same statement is wrong again. But a table that is not there is made with the next try.
        var isParser = (code & 0xffff) is >= 0x2600 and <= 0x26ff;
        throw new PushException($"it answered 0x{code & 0xffff:x4} {said}", isFinal: isParser && !said.Contains("not exist", StringComparison.OrdinalIgnoreCase));
    }

    private static string DeviceTable(Sample sample) => $"{sample.Namespace}/{sample.Device}";

    // Names in backquotes are taken as they are; they cannot hold a backquote themselves.
    private static string Quote(string name) => $"`{name.Replace('`', '_')}`";

    private static string Text(string text)
        => $"'{(text.Length > ValueMax ? text[..ValueMax] : text).Replace("\\", "\\\\", StringComparison.Ordinal).Replace("'", "\\'", StringComparison.Ordinal)}'";
}
