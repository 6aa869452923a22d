using System.Net;
using System.Text.Json;
using System.Text.Json.Nodes;
using Edge.Protocol.Dmi.V1Beta1;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging;

namespace Edge.Devices.Local;

/// <summary>What the local API shows and does; the mapper.</summary>
internal interface ILocalHouse
{
    DeviceWorker? Find(string @namespace, string name);

    DeviceModel? FindModel(string @namespace, string name);

    string Metrics();
}

/// <summary>The REST API of KubeEdge's mapper-framework on the node itself, under <c>/api/v1</c>, with <c>/metrics</c> and <c>/healthz</c>. Its paths and the names in
/// its answers are the framework's (pkg/httpserver); beside them are an Error and a method's Description. Writes are PUT or POST with a JSON body; the framework's writes by
/// GET are refused.</summary>
internal sealed class LocalApi : IAsyncDisposable
{
    private const long BodySizeMax = 64 * 1024;
    private const string CorrelationHeader = "X-Correlation-ID";
    private readonly WebApplication _app;

    private LocalApi(WebApplication app) => _app = app;

    /// <summary>Where it answers; the port is the real one when 0 was asked for.</summary>
    public Uri Address => new(_app.Urls.First());

    /// <exception cref="IOException">The address is in use or not this machine's.</exception>
    public static async Task<LocalApi> StartAsync(IPEndPoint address, ILocalHouse house, TimeProvider time, CancellationToken cancellationToken)
    {
        var builder = WebApplication.CreateSlimBuilder();
        builder.Logging.ClearProviders();
        builder.Services.Configure<Microsoft.Extensions.Hosting.HostOptions>(options => options.ShutdownTimeout = TimeSpan.FromSeconds(1));
        builder.WebHost.ConfigureKestrel(kestrel =>
        {
            kestrel.Limits.MaxRequestBodySize = BodySizeMax;
            kestrel.Limits.MaxConcurrentConnections = 64;
            kestrel.Listen(address);
        });
        var app = builder.Build();
        app.Run(context => ServeAsync(context, house, time));
        try
        {
            await app.StartAsync(cancellationToken);
        }
        catch
        {
            await app.DisposeAsync();
            throw;
        }

        return new LocalApi(app);
    }

    public async ValueTask DisposeAsync() => await _app.DisposeAsync();

    private static async Task ServeAsync(HttpContext context, ILocalHouse house, TimeProvider time)
    {
        var (status, body) = context.Request.Path.Value switch
        {
            "/metrics" => (-1, null),
            "/healthz" => (-2, null),
            var path => await AnswerAsync(context, (path ?? "").Split('/', StringSplitOptions.RemoveEmptyEntries), house),
        };
        if (status < 0)
        {
            context.Response.ContentType = "text/plain; version=0.0.4; charset=utf-8";
            await context.Response.WriteAsync(status == -1 ? house.Metrics() : "ok\n", context.RequestAborted);
            return;
        }

        var answer = new JsonObject { ["apiVersion"] = "v1", ["statusCode"] = status, ["timeStamp"] = time.GetUtcNow().ToString("O", System.Globalization.CultureInfo.InvariantCulture) };
        foreach (var (key, value) in body!)
            answer[key] = value?.DeepClone();
        if (context.Request.Headers.TryGetValue(CorrelationHeader, out var correlation))
            context.Response.Headers[CorrelationHeader] = correlation;
        context.Response.StatusCode = status;
        context.Response.ContentType = "application/json";
        await context.Response.WriteAsync(answer.ToJsonString() + "\n", context.RequestAborted);
    }

    private static async Task<(int Status, JsonObject Body)> AnswerAsync(HttpContext context, string[] path, ILocalHouse house)
    {
        if (path is not ["api", "v1", .. var rest])
            return Problem(404, "there are /api/v1, /metrics and /healthz");
        var write = context.Request.Method is "PUT" or "POST";
        if (!write && context.Request.Method != "GET")
            return NotAllowed(context, "GET, PUT, POST");
        switch (rest)
        {
            case ["ping"] when !write:
                return (200, new JsonObject { ["Message"] = "This is v1 API, the server is running normally." });
            case ["device", var space, var name]:
                return house.Find(space, name) is not { } all ? NoDevice(space, name) : write ? NotAllowed(context, "GET") : (200, new JsonObject { ["Data"] = new JsonArray([.. all.Twins.Select(twin => ToJson(all, twin))]) });
            case ["device", var space, var name, var property]:
                if (house.Find(space, name) is not { } device)
                    return NoDevice(space, name);
                if (device.Twins.FirstOrDefault(twin => twin.PropertyName == property) is not { } one)
                    return Problem(404, $"device {space}/{name} has no property '{property}'");
                return write ? await WriteAsync(context, device, property, null) : (200, new JsonObject { ["Data"] = ToJson(device, one) });
            case ["devicemethod", var space, var name]:
                return house.Find(space, name) is not { } with ? NoDevice(space, name) : write ? NotAllowed(context, "GET") : (200, new JsonObject { ["Data"] = Methods(with, house.FindModel(with.Device.Namespace, with.Device.Spec.DeviceModelReference)) });
            case ["devicemethod", var space, var name, var method, var property, .. var data] when data.Length <= 1:
                if (house.Find(space, name) is not { } called)
                    return NoDevice(space, name);
                if (!write)
                    return NotAllowed(context, "PUT, POST");
                if (called.Device.Spec.Methods.FirstOrDefault(one => one.Name == method) is not { } found)
                    return Problem(404, $"device {space}/{name} has no method '{method}'");
                if (!found.PropertyNames.Contains(property))
                    return Problem(404, $"method '{method}' of device {space}/{name} does not have property '{property}', but {string.Join(", ", found.PropertyNames)}");
                return await WriteAsync(context, called, property, data.Length == 1 ? data[0] : null);
            case ["meta", "model", var space, var name] when !write:
                // The name is the device's, as in the framework: its model is answered.
                if (house.Find(space, name) is not { } of)
                    return NoDevice(space, name);
                var reference = of.Device.Spec.DeviceModelReference;
                return house.FindModel(of.Device.Namespace, reference) is { } model ? (200, ToJson(model)) : Problem(404, $"model '{reference}' of device {space}/{name} is not here");
            case ["database", _, _] when !write:
                return Problem(503, "The database is not enabled: this mapper keeps no samples, pushMethod.dbMethod of a property sends them to one");
            default:
                return Problem(404, "there are ping, device/NAMESPACE/NAME[/PROPERTY], devicemethod/NAMESPACE/NAME[/METHOD/PROPERTY[/VALUE]], meta/model/NAMESPACE/NAME and database/NAMESPACE/NAME, each with the device's name");
        }
    }

    private static async Task<(int Status, JsonObject Body)> WriteAsync(HttpContext context, DeviceWorker device, string property, string? value)
    {
        if (value is null)
        {
            // A web page of elsewhere cannot send this type without asking first, so none writes to a device behind its reader's back.
            if (context.Request.ContentType?.StartsWith("application/json", StringComparison.OrdinalIgnoreCase) != true)
                return Problem(415, "the body must be application/json: {\"value\": \"21.5\"}");
            try
            {
                var body = await JsonNode.ParseAsync(context.Request.Body, cancellationToken: context.RequestAborted);
                value = (body as JsonObject)?["value"] switch
                {
                    JsonValue text when text.GetValueKind() == JsonValueKind.String => text.GetValue<string>(),
                    JsonValue other => other.ToJsonString(),
                    _ => null,
                };
            }
            catch (Exception e) when (e is JsonException or BadHttpRequestException)
            {
                return Problem(400, $"the body is no JSON, or too large: {e.Message}");
            }

            if (value is null)
                return Problem(400, "the body must be an object with a value: {\"value\": \"21.5\"}");
        }

        try
        {
            await device.WriteAsync(property, value, context.RequestAborted);
            return (200, new JsonObject { ["Message"] = $"wrote {value} to {property}" });
        }
        catch (DeviceRefusedException e)
        {
            return Problem(422, e.Message);
        }
        catch (DeviceUnreachableException e)
        {
            return Problem(503, e.Message);
        }
    }

    private static (int Status, JsonObject Body) NoDevice(string space, string name) => Problem(404, $"there is no device {space}/{name}");

    private static (int Status, JsonObject Body) NotAllowed(HttpContext context, string allowed)
    {
        context.Response.Headers.Allow = allowed;
        return Problem(405, $"{context.Request.Method} is not allowed here, {allowed} is");
    }

    private static (int Status, JsonObject Body) Problem(int status, string message) => (status, new JsonObject { ["Message"] = message });

    private static JsonObject ToJson(DeviceWorker worker, Twin twin) => new()
    {
        ["DeviceName"] = worker.Device.Name,
        ["PropertyName"] = twin.PropertyName,
        ["Namespace"] = worker.Device.Namespace,
        ["Value"] = twin.Reported?.Value ?? "",
        ["Type"] = twin.Reported?.Metadata.GetValueOrDefault("type") ?? "",
        ["TimeStamp"] = long.TryParse(twin.Reported?.Metadata.GetValueOrDefault("timestamp"), System.Globalization.CultureInfo.InvariantCulture, out var stamp) ? stamp : 0,
        ["Error"] = twin.Reported?.Metadata.GetValueOrDefault("error") ?? "",
    };

    private static JsonObject Methods(DeviceWorker worker, DeviceModel? model) => new()
    {
        ["Methods"] = new JsonArray([.. worker.Device.Spec.Methods.Select(method => new JsonObject
        {
            ["Name"] = method.Name,
            ["Path"] = $"/api/v1/devicemethod/{worker.Device.Namespace}/{worker.Device.Name}/{method.Name}/{{propertyName}}/{{data}}",
            ["Parameters"] = new JsonArray([.. method.PropertyNames.Select(name => new JsonObject
            {
                ["PropertyName"] = name,
                ["ValueType"] = model?.Spec?.Properties.FirstOrDefault(property => property.Name == name)?.Type ?? "",
            })]),
            ["Description"] = method.Description,
        })]),
    };

    private static JsonObject ToJson(DeviceModel model) => new()
    {
        ["namespace"] = model.Namespace,
        ["name"] = model.Name,
        ["properties"] = new JsonArray([.. (model.Spec?.Properties ?? []).Select(property => new JsonObject
        {
            ["name"] = property.Name, ["dataType"] = property.Type, ["description"] = property.Description, ["accessMode"] = property.AccessMode,
            ["minimum"] = property.Minimum, ["maximum"] = property.Maximum, ["unit"] = property.Unit,
        })]),
    };
}
