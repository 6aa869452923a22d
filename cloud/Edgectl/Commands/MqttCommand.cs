using System.CommandLine;
using System.Text;
using Edge.Protocol.Mqtt.Broker;

namespace Edge.Ctl.Commands;

/// <summary><c>edgectl mqtt</c>: what the embedded MQTT broker needs to be set up.</summary>
internal static class MqttCommand
{
    public static Command Create()
    {
        var scram = new Option<bool>("--scram") { Description = "a hash with which clients of version 5.0 may use SCRAM-SHA-256, and never send the password" };
        var hash = new Command("hash", """
            Prints the hash of a password for modules.eventBus.users of edgecore.yaml. The password is one line of the standard input, so that it
            stands in no history and no list of processes.

            Examples:
              edgectl mqtt hash
              edgectl mqtt hash < password-file
              edgectl mqtt hash --scram < password-file
            """) { scram };
        hash.SetAction(parse => PrintHash(parse.GetValue(scram)));
        return new Command("mqtt", "Sets up the MQTT broker of an edge.\n\nExamples:\n  edgectl mqtt hash < password-file") { hash };
    }

    private static int PrintHash(bool isScram)
    {
        if (!Console.IsInputRedirected)
            Console.Error.Write("password: ");
        var password = Console.IsInputRedirected ? Console.In.ReadLine() ?? "" : ReadHidden();
        if (password.Length == 0)
        {
            Console.Error.WriteLine("edgectl mqtt hash: the password is empty; type it, or give a file: edgectl mqtt hash < password-file");
            return 1;
        }

        Console.Out.WriteLine(isScram ? MqttPassword.HashForScram(password) : MqttPassword.Hash(password));
        return 0;
    }

    private static string ReadHidden()
    {
        var typed = new StringBuilder();
        while (Console.ReadKey(intercept: true) is { Key: not ConsoleKey.Enter } key)
        {
            if (key.Key != ConsoleKey.Backspace)
                typed.Append(key.KeyChar);
            else if (typed.Length > 0)
                typed.Length--;
        }

        Console.Error.WriteLine();
        return typed.ToString();
    }
}
