using System.Text.Json.Nodes;
using Edge.Protocol.Dmi.V1Beta1;
using Edge.Protocol.Grpc;
using Google.Protobuf;

namespace Edge.Core.DeviceTwin;

/// <summary>What happened, for <see cref="TwinCore"/>.</summary>
internal abstract record TwinInput
{
    /// <summary>A Device or DeviceModel as MetaManager has it now; null when it is gone.</summary>
    public sealed record ObjectChanged(string Type, string Namespace, string Name, JsonObject? Object) : TwinInput;

    /// <summary>A mapper called MapperRegister.</summary>
    public sealed record RegisterMapper(MapperInfo Mapper, bool WithData) : TwinInput;

    /// <summary>A mapper called ReportDeviceStatus.</summary>
    public sealed record ReportStatus(ReportDeviceStatusRequest Request, long NowMs) : TwinInput;

    /// <summary>A mapper called ReportDeviceStates.</summary>
    public sealed record ReportState(ReportDeviceStatesRequest Request, long NowMs) : TwinInput;
}

/// <summary>What must be done about it, in order.</summary>
internal abstract record TwinOutput
{
    /// <summary>Store the row before anything that follows.</summary>
    public sealed record Persist(string Key, byte[] Row) : TwinOutput;

    public sealed record Forget(string Key) : TwinOutput;

    /// <summary>Send the device's newest twin to the cloud.</summary>
    public sealed record SendTwin(string Namespace, string Name, IReadOnlyDictionary<string, PropertyTwin> Properties) : TwinOutput;

    /// <summary>Send the device's state to the cloud.</summary>
    public sealed record SendState(string Namespace, string Name, string State, long LastOnlineMs) : TwinOutput;

    /// <summary>A mapper registered: (re)dial it. It has <paramref name="Delivered"/> already, or gets them with the answer.</summary>
    public sealed record MapperChanged(MapperInfo Mapper, IReadOnlyList<MapperCall> Delivered) : TwinOutput;

    /// <summary>Tell a mapper.</summary>
    public sealed record Deliver(string Mapper, MapperCall Call) : TwinOutput;

    /// <summary>The call's answer.</summary>
    public sealed record Answer(IMessage Message) : TwinOutput;

    /// <summary>The call's refusal.</summary>
    public sealed record Refuse(GrpcStatusCode Code, string Reason) : TwinOutput;

    /// <summary>A reported value was not taken.</summary>
    public sealed record Dropped(string Device, string Property, string Reason) : TwinOutput;

    /// <summary>A device is held back until its model is here.</summary>
    public sealed record WaitsForModel(string Device, string Model) : TwinOutput;
}

/// <summary>The state a mapper should have of one object: the newest message, or null when it is gone.</summary>
internal sealed record MapperCall(bool IsModel, string Namespace, string Name, IMessage? Message)
{
    public string Key => $"{(IsModel ? "devicemodel" : "device")}/{Namespace}/{Name}";
}

/// <summary>What is known of one property; an immutable snapshot.</summary>
internal sealed record PropertyTwin
{
    /// <summary>The reported value; null before the first report.</summary>
    public string? Value { get; init; }

    /// <summary>When the mapper read it, ms since the epoch.</summary>
    public long TimestampMs { get; init; }

    /// <summary>int, float, string …: the mapper's word, else the model's type.</summary>
    public string Type { get; init; } = "";

    /// <summary>Why there is no good value; empty when there is.</summary>
    public string Error { get; init; } = "";

    /// <summary>The desired value that the mapper says it has written; null when none.</summary>
    public string? Expected { get; init; }

    public long ExpectedTimestampMs { get; init; }

    /// <summary>Counts the changes of the reported value on this node; survives restarts.</summary>
    public long EdgeVersion { get; init; }

    /// <summary>True when a peer would see a difference; the time of reading alone is none.</summary>
    public bool Differs(PropertyTwin other)
        => Value != other.Value || Type != other.Type || Error != other.Error || Expected != other.Expected;
}
