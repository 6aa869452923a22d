using System.Globalization;
using System.Text.Json.Nodes;
using Edge.Kubernetes;

namespace Edge.Ctl.Tests;

/// <summary>A thermostat as the API has it.</summary>
internal static class Objects
{
    public static readonly DateTimeOffset Now = new(2026, 3, 4, 12, 0, 0, TimeSpan.Zero);

    public static JsonObject Model() => One("""
        apiVersion: devices.kubeedge.io/v1beta1
        kind: DeviceModel
        metadata: {name: thermostat, namespace: default}
        spec:
          protocol: modbus
          properties:
            - {name: temperature, type: FLOAT, accessMode: ReadOnly, unit: celsius}
            - {name: setpoint, type: FLOAT, accessMode: ReadWrite, minimum: "5", maximum: "35", unit: celsius}
            - {name: steps, type: INT, accessMode: ReadWrite, minimum: "0"}
            - {name: fan, type: BOOLEAN, accessMode: ReadWrite}
            - {name: label, type: STRING, accessMode: ReadWrite}
        """);

    public static JsonObject Device() => One("""
        apiVersion: devices.kubeedge.io/v1beta1
        kind: Device
        metadata: {name: press-3, namespace: default, uid: u-1, resourceVersion: "7"}
        spec:
          deviceModelRef: {name: thermostat}
          nodeName: edge-1
          protocol: {protocolName: modbus}
          properties:
            - name: temperature
            - name: setpoint
              desired: {value: "21.5", metadata: {timestamp: "1"}}
              visitors: {protocolName: modbus, configData: {scale: 0.1}}
            - name: fan
        """);

    public static JsonObject Node(bool ready = true) => One($$"""
        apiVersion: v1
        kind: Node
        metadata: {name: edge-1}
        status: {conditions: [{type: Ready, status: "{{(ready ? "True" : "Unknown")}}"}]}
        """);

    public static JsonObject Status(params JsonObject[] twins) => new()
    {
        ["metadata"] = new JsonObject { ["name"] = "press-3", ["namespace"] = "default" },
        ["status"] = new JsonObject { ["state"] = "online", ["twins"] = new JsonArray([.. twins]) },
    };

    /// <summary>A twin; times in milliseconds after <see cref="Now"/>.</summary>
    public static JsonObject Twin(string property, string? reported = null, long reportedMs = 0, string? observed = null, long observedMs = 0, string error = "")
    {
        var twin = new JsonObject { ["propertyName"] = property };
        if (reported is not null)
            twin["reported"] = Side(reported, reportedMs, error);
        if (observed is not null)
            twin["observedDesired"] = Side(observed, observedMs, "");
        return twin;
    }

    public static JsonObject One(string yaml) => Manifests.Parse(yaml).Single();

    public static JsonObject Json(string text) => JsonNode.Parse(text)!.AsObject();

    private static JsonObject Side(string value, long ms, string error)
    {
        var metadata = new JsonObject { ["timestamp"] = (Now.ToUnixTimeMilliseconds() + ms).ToString(CultureInfo.InvariantCulture) };
        if (error.Length > 0)
            metadata["error"] = error;
        return new JsonObject { ["value"] = value, ["metadata"] = metadata };
    }
}
