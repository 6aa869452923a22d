using System.Text.Json.Nodes;
using Edge.Kubernetes;
using Edge.Protocol.Dmi;
using Edge.Protocol.Dmi.V1Beta1;

namespace Edge.Devices.Tests;

/// <summary>The manifests of docs/examples.</summary>
internal static class Examples
{
    /// <summary>The text of a file below docs/examples.</summary>
    public static string Text(string path)
    {
        var directory = new DirectoryInfo(AppContext.BaseDirectory);
        while (!File.Exists(Path.Combine(directory!.FullName, "Edge.sln")))
            directory = directory.Parent;
        return File.ReadAllText(Path.Combine(directory.FullName, "docs/examples", path));
    }

    /// <summary>The device and the model of a folder, as its mapper gets them.</summary>
    public static (Device Device, DeviceModel Model) Read(string folder)
    {
        var (devices, model) = ReadAll(folder, "device.yaml");
        return (devices.Single(), model);
    }

    /// <summary>All devices of a file, and the model of its folder.</summary>
    public static (IReadOnlyList<Device> Devices, DeviceModel Model) ReadAll(string folder, string file)
    {
        var model = Manifests.Parse(Text($"{folder}/devicemodel.yaml")).Single();
        return ([.. Manifests.Parse(Text($"{folder}/{file}")).Select(device => DmiConvert.ToDevice(device, model))], DmiConvert.ToModel(model));
    }

    /// <summary>Binds every property; returns how many there are.</summary>
    public static int Bind(string folder, IDeviceDriver driver, Action<PropertyInfo> look)
    {
        var (device, model) = Read(folder);
        return Bind(device, model, driver, look);
    }

    /// <inheritdoc cref="Bind(string, IDeviceDriver, Action{PropertyInfo})"/>
    public static int Bind(Device device, DeviceModel model, IDeviceDriver driver, Action<PropertyInfo> look)
    {
        var problems = new List<string>();
        var connection = driver.Create(DmiConvert.ToJson(device.Spec.Protocol.ConfigData, problems));
        Assert.Empty(problems);
        var models = model.Spec.Properties.ToDictionary(one => one.Name);
        foreach (var property in device.Spec.Properties)
        {
            var state = new PropertyState(property, models[property.Name], 0);
            Assert.Equal("", state.Refusal);
            Assert.NotNull(connection.Bind(state.Info));
            look(state.Info);
        }

        return device.Spec.Properties.Count;
    }
}
